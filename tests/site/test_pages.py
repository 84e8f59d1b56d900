"""Every page of the site is sound, in a browser too: at a desk and on a phone, light and dark."""

import itertools
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# axe's rules of WCAG 2, levels A and AA. Style sheets are not fetched: they are files.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
CONTRAST = {"runOnly": ["color-contrast"]}
# Elements that look as their neighbours do, and would take minutes: rows of a table, words of long
# code; of the API all names but some.
ALIKE = ["tr:nth-child(n+4)", "pre > span:nth-of-type(n+60)"]
ALIKE_NAMES = ["section > section:nth-of-type(n+5)", "dd > dl.py:nth-of-type(n+4)"]


class Links(HTMLParser):
    """The links of a page, and the anchors that can be linked to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.places, self.images, self.headings = [], {"", "top"}, [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places.add(given.get("id") or "")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(given)
            self.links.append(given["src"])


_read: dict[Path, Links] = {}


def links(path: Path) -> Links:
    if path not in _read:
        _read[path] = Links(path)
    return _read[path]


def test_no_link_is_dead(page, site):
    here, dead = site / page, []
    for link in links(here).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            assert parts.scheme in {"https", "data", "mailto"}, link
            continue
        there = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        if not there.is_file() or (
            there.suffix == ".html" and unquote(parts.fragment) not in links(there).places
        ):
            dead.append(link)
    assert not dead


def test_images_say_what_they_show(page, site):
    assert not [image["src"] for image in links(site / page).images if not image.get("alt")]


def test_headings_are_in_order(page, site):
    levels = links(site / page).headings
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels)), levels


def violations(tab, page, options):
    """The violations that axe finds, each with its elements."""
    left_out = ALIKE + (ALIKE_NAMES if page.startswith("api/") else [])
    context = {"include": [["html"]], "exclude": [[selector] for selector in left_out]}
    options = {**options, "preload": False, "resultTypes": ["violations"]}
    found = tab.evaluate("([context, options]) => axe.run(context, options)", [context, options])
    return {
        each["id"]: [
            (node["target"], (node["any"] or node["all"] or node["none"])[0]["message"])
            for node in each["nodes"][:3]
        ]
        for each in found["violations"]
    }


@pytest.fixture(scope="module")
def axe():
    package = pytest.importorskip("axe_playwright_python")
    return (Path(package.__file__).parent / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def told(tab):
    """The errors and warnings of the browser."""
    found = []
    tab.on("console", lambda m: found.append(m.text) if m.type in {"error", "warning"} else None)
    tab.on("pageerror", lambda error: found.append(str(error)))
    tab.on("requestfailed", lambda request: found.append(request.url))
    return found


def test_a_page_is_sound_in_a_browser(page, site, tab, told, axe):
    told.clear()
    tab.set_viewport_size(DESK)
    tab.goto((site / page).as_uri())
    assert not told
    tab.evaluate(axe)
    for mode, rules in (("light", RULES), ("dark", CONTRAST)):
        tab.evaluate("mode => { document.documentElement.dataset.theme = mode }", mode)
        assert not violations(tab, page, rules), mode
    tab.set_viewport_size(PHONE)
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"], wide
    assert not told


def test_the_search_finds_a_layer_without_a_server(site, tab):
    tab.set_viewport_size(DESK)
    tab.goto((site / "search.html").as_uri() + "?q=Dense")
    found = tab.locator("ul.search li a")
    found.first.wait_for()
    places = found.evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert any(place.endswith("cdl.layers-core.html#cdl.layers.Dense") for place in places[:3])


def test_a_class_shows_what_it_is_made_with(site):
    text = (site / "api" / "cdl.layers-core.html").read_text()
    shown = text[text.index('id="cdl.layers.Dense"') :].partition("</dt>")[0]
    assert "units" in shown and "args" not in shown.replace("kwargs", "")
