"""Text classification with TextVectorization: the sentiment of film reviews.

Does the writer of a review like the film? The reviews are made here: sentences of a small grammar,
with the words that mean the contrary of what they say alone ("not bad at all"), with typing errors
and shouting. The vocabulary is a layer of the net: it is learned by `adapt`, saved with the net,
and there again when that is loaded.

    python examples/sentiment.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import cdl
from cdl import layers

THINGS = ["film", "plot", "cast", "music", "ending", "script", "acting", "camera work", "pace"]
GOOD = ["great", "moving", "funny", "brilliant", "good", "fresh", "lovely", "clever", "gripping"]
BAD = ["bad", "dull", "silly", "awful", "boring", "weak", "clumsy", "tired", "painful"]
OPENINGS = ["The {} was", "I found the {}", "To me the {} seemed", "Honestly, the {} is", "{}:"]
FILLERS = ["We saw it on a Friday.", "It runs for two hours!", "My friend came along;", "Hm..."]
NOT = ["not", "never", "hardly", "anything but"]


def sentence(rng: np.random.Generator, likes: bool) -> str:
    """A random sentence of an opinion, in one word or by the contrary of another."""
    words = GOOD if likes else BAD
    opinion = str(rng.choice(words))
    if rng.random() < 0.4:
        opinion = f"{rng.choice(NOT)} {rng.choice(BAD if likes else GOOD)}"
    said = f"{rng.choice(OPENINGS).format(rng.choice(THINGS))} {opinion}."
    return said.upper() if rng.random() < 0.1 else said


def review(rng: np.random.Generator, likes: bool) -> str:
    """A random review: some sentences, one in nine of which has the other opinion."""
    sentences = [sentence(rng, likes ^ (rng.random() < 1 / 9)) for _ in range(rng.integers(3, 6))]
    sentences += [str(rng.choice(FILLERS)) for _ in range(rng.integers(0, 3))]
    text = list(" ".join(rng.permutation(sentences)))
    if rng.random() < 0.3:  # a letter is missing
        del text[rng.integers(len(text))]
    return "".join(text)


def draw(model: cdl.Model, texts: tuple[str, ...], file: str) -> None:
    """Draw the contribution of each word: the score less that of the text without the word."""
    import matplotlib.pyplot as plt

    hidden = cdl.Model(model.inputs, model.layers[-2].output)
    kernel, bias = model.layers[-1].get_weights()  # the score is before the sigmoid
    figure, axes = plt.subplots(1, len(texts))
    for ax, text in zip(axes, texts, strict=True):
        words = text.split()
        without = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
        scores = hidden.predict([text, *without], verbose=0) @ kernel + bias
        adds = (scores[0] - scores[1:])[:, 0]
        ax.barh(range(len(words)), adds, color=np.where(adds > 0, "C0", "C1"))
        ax.set_yticks(range(len(words)), words)
        ax.invert_yaxis()
        ax.axvline(0, color="black", linewidth=1)
        liked = "likes it" if scores[0] > 0 else "does not like it"
        ax.set(title=liked, xlabel="what the word adds to the score")
    figure.savefig(file)


def main(reviews: int = 6000, epochs: int = 8, picture: str | None = None) -> float:
    """Train, save, load, and return the accuracy of the loaded net on new reviews."""
    cdl.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    likes = rng.random(reviews) < 0.5
    texts = [review(rng, bool(each)) for each in likes]
    known = reviews * 3 // 4

    vectorize = layers.TextVectorization(max_tokens=1500, ngrams=2, output_sequence_length=80)
    vectorize.adapt(texts[:known])
    model = cdl.Sequential(
        [
            layers.Input((1,), dtype="string"),
            vectorize,
            layers.Embedding(vectorize.vocabulary_size(), 16, mask_zero=True),
            layers.GlobalAveragePooling1D(),
            layers.Dense(16, "relu"),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(cdl.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    model.fit(texts[:known], likes[:known], epochs=epochs, verbose=0)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sentiment.keras")
        model.save(path)
        loaded = cdl.models.load_model(path)
    _, accuracy = loaded.evaluate(texts[known:], likes[known:], verbose=0)
    print(f"{vectorize.vocabulary_size()} words and pairs, {100 * accuracy:.1f} % understood")
    asked = "The plot was not bad, the cast brilliant!", "Hardly moving, and the MUSIC was awful..."
    for text in asked:
        print(f"{loaded.predict([text], verbose=0)[0, 0]:.2f}  {text}")
    if picture is not None:
        draw(loaded, asked, picture)
    return float(accuracy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reviews", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
