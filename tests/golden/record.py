"""Record the results of the cases on real Keras.

    python tests/golden/record.py            records all areas into recorded/
    python tests/golden/record.py --diff     shows what differs from the files, writes nothing

Keras 3.15 on its jax backend, in an environment of its own: `make golden` makes it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")  # another one with --diff alone
os.environ.setdefault("JAX_PLATFORMS", "cpu")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import numpy as np
from cases import load_all
from registry import CASES, run
from stored import differences, load, save


def main() -> int:
    """Record the cases, or compare them with the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--diff", action="store_true", help="compare with the files only")
    parser.add_argument("--match", default="", help="run only cases with this in their name")
    parser.add_argument("--new", action="store_true", help="run only cases that have no record")
    parser.add_argument("areas", nargs="*", help="areas to record; all unless given")
    options = parser.parse_args()
    import keras

    load_all()
    print(f"keras {keras.__version__}, backend {keras.backend.backend()}, numpy {np.__version__}")
    changed = 0
    areas = sorted({key.split("/")[0] for key in CASES})
    for area in areas:
        if options.areas and area not in options.areas:
            continue
        before = load(area)
        results: dict[str, dict[str, Any]] = {}
        for key, function in CASES.items():
            if key.split("/")[0] != area:
                continue
            kept = options.match not in key or (options.new and key in before)
            if kept and key in before:
                results[key] = before[key]
                continue
            results[key] = run(function, keras)
            if "raises" in results[key]:
                print(f"{key}: Keras raises {results[key]}")
        for line in differences(before, results):
            changed += 1
            print(line)
        if not options.diff:
            save(area, results)
        print(f"{area}: {len(results)} cases")
    print(json.dumps({"changed": changed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
