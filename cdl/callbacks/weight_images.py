"""Weights as TensorBoard's images and embeddings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.config import image_data_format

_MOST = 3  # images of one weight, as TensorFlow writes them


def as_images(weight: NDArray[Any]) -> NDArray[np.float32] | None:
    """A weight as images (n, height, width, channels); None if it has too many axes.

    A vector is a line, a matrix lies on its side, and of three axes the last one counts images.
    """
    values = np.squeeze(weight)
    if values.ndim == 1:
        values = values.reshape(1, -1, 1, 1)
    elif values.ndim == 2:
        values = (values.T if values.shape[0] > values.shape[1] else values)[None, :, :, None]
    elif values.ndim == 3:
        last = image_data_format() == "channels_last"
        values = (values.transpose(2, 0, 1) if last else values)[..., None]
    if values.ndim != 4 or values.shape[-1] not in (1, 3, 4):
        return None
    images: NDArray[np.float32] = np.clip(values[:_MOST], 0, 1).astype(np.float32)
    return images


def projector_config(model: Any, metadata: str | Mapping[str, str] | None) -> str:
    """Config file of TensorBoard's projector for the embeddings of a model.

    Args:
        metadata: the file with the names of the rows, or a dict of such by the names of layers.

    Raises:
        ValueError: the name of what is no Embedding of the model.
    """
    rest = dict(metadata) if isinstance(metadata, Mapping) else {}
    blocks = []
    for layer in model.layers:
        if any(cls.__name__ == "Embedding" for cls in type(layer).__mro__):
            path = metadata if isinstance(metadata, str) else rest.pop(layer.name, None)
            lines = ['  tensor_name: "layer_with_weights-0/embeddings/.ATTRIBUTES/VARIABLE_VALUE"']
            lines += [] if path is None else [f'  metadata_path: "{path}"']
            blocks.append("embeddings {\n" + "\n".join(lines) + "\n}\n")
    if rest:
        raise ValueError(
            "TensorBoard: Unrecognized `Embedding` layer names passed to `embeddings_metadata`, "
            f"got {list(rest)}"
        )
    return "".join(blocks)
