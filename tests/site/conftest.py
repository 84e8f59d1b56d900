"""The site that `make docs` built, and a browser to look at it: `make docs-check` brings both."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SITE = Path(os.environ.get("CDL_SITE", "nowhere")).resolve()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the tests by the pages of the site."""
    if "page" in metafunc.fixturenames:
        pages = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
        metafunc.parametrize("page", [page for page in pages if not page.startswith("_")])


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the site."""
    if not (SITE / "index.html").exists():
        pytest.skip("`make docs-check` builds the site and runs these tests")
    return SITE


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def tab(browser: Any) -> Any:
    """A page of the browser that no test closes."""
    return browser.new_context(offline=True, reduced_motion="reduce").new_page()
