"""Write docs/gallery/: a page for each script in examples/, with what it printed and its picture.

    python tools/gallery.py            run all examples
    python tools/gallery.py mnist wine run these
    python tools/gallery.py --code     run none: only the code on the pages is renewed
    python tools/gallery.py --guides   run the guides that have pictures, and draw these
    jupyter nbconvert --to notebook --execute --inplace docs/gallery/notebook.ipynb

A script gets `--picture FILE` and draws into it. Pictures are committed, so that `make docs` runs
nothing; a test holds the code on the pages to the scripts.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES, GALLERY = ROOT / "examples", ROOT / "docs" / "gallery"
LARGEST = 40_000  # bytes of a picture
GROUPS = {
    "Tabular data": "workflow late_flights churn diamonds quantiles intervals monotone flights "
    "doctors taxis diabetes breast_cancer wine",
    "Images": "digits digits_cnn mnist mnist_cnn shapes lora transfer digits_transformer",
    "Text and time series": "sentiment dates language_model buckets sunspots sunspots_lstm waves",
    "Training steps of one's own, derivatives, reinforcement learning": "digits_wgan digits_vae "
    "cycle_gan digits_simclr digits_distillation burgers_pinn lorenz_inverse oscillator_pinn "
    "laplace cartpole_dqn cartpole_ppo pendulum_sac",
    "Hyperparameter search, many models, MPI, export to C": "shops seeds sweep tuner digits_ranks "
    "without_python",
}
COMMAND = re.compile(r"(pip install|python |mpiexec )")


def parts(name: str) -> tuple[str, list[str], list[str], str]:
    """The title, the paragraphs and the commands of a script's docstring; and its code."""
    source = (EXAMPLES / f"{name}.py").read_text()
    text = ast.get_docstring(ast.parse(source)) or ""
    title, _, rest = text.partition("\n")
    paragraphs, commands = [], []
    for paragraph in rest.strip().split("\n\n"):
        lines = textwrap.dedent(paragraph).splitlines()
        if lines and all(COMMAND.match(line) for line in lines):
            commands += [re.sub(r"  +and .*", "", line) for line in lines]
        elif lines:
            paragraphs.append("\n".join(lines))
    code = source.split('"""', 2)[2].strip()
    return title.rstrip("."), paragraphs, commands, code + "\n"


def caption(name: str) -> str:
    """The caption of a script's picture, from the docstring that begins with "Draw"."""
    for part in ast.parse((EXAMPLES / f"{name}.py").read_text()).body:
        text = ast.get_docstring(part) if isinstance(part, ast.FunctionDef) else None
        if text and text.startswith("Draw "):
            drawn = text.removeprefix("Draw ")
            return drawn[0].upper() + drawn[1:]
    raise SystemExit(f"{name}: a function with a docstring that begins with Draw is missing")


def page(name: str, output: str) -> str:
    """The page of an example."""
    title, paragraphs, commands, code = parts(name)
    shown = "\n".join(f"$ {command}" for command in commands)
    blocks = [f"# {title}", *paragraphs]
    blocks += [f"![{caption(name)}]({name}.webp)", f"*{caption(name)}*"]
    blocks += [f"```console\n{shown}\n```", f"```text\n{output}\n```"]
    blocks += [f"## examples/{name}.py", f"```python\n{code}```"]
    return "\n\n".join(blocks) + "\n"


def notebook() -> str:
    """The page of docs/gallery/notebook.ipynb, which has been run and saved with what it shows."""
    blocks = []
    for cell in json.loads((GALLERY / "notebook.ipynb").read_text())["cells"]:
        source = "".join(cell["source"])
        blocks.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            blocks.append("".join(output["data"]["text/html"]).strip())
    blocks.append("This is [notebook.ipynb](notebook.ipynb), as it was saved.")
    return "\n\n".join(blocks) + "\n"


def index() -> str:
    """The page that leads to all others."""
    blocks = [
        "# Gallery",
        "Each example is a script on data that a package brings along, or that it makes itself.\n"
        "The test suite runs all of them; a page has the code, what it prints and what it draws.\n"
        "Times that are printed are of one thread of a machine that was busy with other work.",
    ]
    for group, names in GROUPS.items():
        blocks += [f"## {group}", '<div class="gallery">']
        items = []
        for name in names.split():
            title = parts(name)[0]
            thumbnail = f"![{caption(name)}](thumbnails/{name}.webp)"
            items.append(f"- {thumbnail}<br>\n  [{title}]({name}.md)")
        blocks += ["\n".join(items), "</div>"]
    blocks += [
        "## In a notebook",
        "[Models, training curves and feature importances in a Jupyter notebook](notebook.md)",
    ]
    return "\n\n".join(blocks) + "\n"


def run(name: str, picture: Path) -> str:
    """Run a script as its user would; what it printed."""
    settings = {
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": str(ROOT / "tools" / "gallery.matplotlibrc"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "88",
    }
    command = [sys.executable, "-W", "ignore", f"{name}.py", "--picture", str(picture)]
    done = subprocess.run(
        command,
        check=False,
        cwd=EXAMPLES,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    if done.returncode or not done.stdout:
        raise SystemExit(f"{name} failed or printed nothing: {done.stderr}")
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    return "\n".join(lines)


def small(picture: Path, path: Path, size: tuple[int, int] | None = None) -> None:
    """Write a picture as a small file of WebP, with white around it if it is to have a size."""
    from PIL import Image, ImageOps

    image = Image.open(picture).convert("RGB")
    if size is not None:
        image = ImageOps.pad(image, size, Image.Resampling.LANCZOS, color="white")
    for options in ({"lossless": True}, {"quality": 90}, {"quality": 75}, {"quality": 55}):
        data = io.BytesIO()
        image.save(data, "webp", method=6, **options)
        if data.tell() < LARGEST:
            break
    path.write_bytes(data.getvalue())


def draw_guides() -> None:
    """Run the guides that have pictures: each is what the block of Python before it has drawn."""
    os.environ |= {"MPLBACKEND": "Agg", "MATPLOTLIBRC": str(ROOT / "tools/gallery.matplotlibrc")}
    import matplotlib.pyplot as plt

    sys.path.insert(0, str(ROOT))
    piece = re.compile(r"```python\n(.*?)```|!\[[^\]]*\]\(([\w-]+)\.webp\)", re.DOTALL)
    for path in sorted((ROOT / "docs" / "guides").glob("*.md")):
        text, names = path.read_text(), {"__name__": "__main__"}
        if ".webp)" not in text:
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for code, picture in piece.findall(text):
                if picture:
                    plt.savefig("picture.png")
                    small(Path("picture.png"), path.with_name(f"{picture}.webp"))
                else:
                    plt.close("all")
                    exec(compile(code, path.name, "exec"), names)


def printed(name: str) -> str:
    """The output on a page that is there."""
    path = GALLERY / f"{name}.md"
    found = (
        re.search(r"```text\n(.*?)\n```", path.read_text(), re.DOTALL) if path.exists() else None
    )
    return found.group(1) if found else ""


def main() -> None:
    """Run what was asked for, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--code", action="store_true", help="run nothing")
    parser.add_argument("--guides", action="store_true", help="draw the pictures of docs/guides/")
    given = parser.parse_args()
    if given.guides:
        draw_guides()
        return
    everything = " ".join(GROUPS.values()).split()
    wanted = [] if given.code else given.names or everything
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            output = run(name, Path(folder) / "picture.png")
            drawn = Path(folder) / "picture.png"
            small(drawn, GALLERY / f"{name}.webp")
            small(drawn, GALLERY / "thumbnails" / f"{name}.webp", (480, 300))
        (GALLERY / f"{name}.md").write_text(page(name, output))
        print(name, (GALLERY / f"{name}.webp").stat().st_size, "bytes")
    for name in everything:
        (GALLERY / f"{name}.md").write_text(page(name, printed(name)))
    (GALLERY / "notebook.md").write_text(notebook())
    (GALLERY / "index.md").write_text(index())


if __name__ == "__main__":
    main()
