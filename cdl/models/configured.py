"""configured.py - Configured: what of a model can be written down, and made again from that."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdl import _serial, saving
from cdl._hints import warn
from cdl._serial import deserialize, serialize
from cdl.models.state import CompiledState
from cdl.models.trainer import Trainer

if TYPE_CHECKING:
    from cdl.models.model import Model


class Configured(CompiledState):
    """Mixin of models: configs of the model itself and of what `compile` was given."""

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile` as configs; {} before it was called."""
        if self._compiled is None:
            return {}
        given = {**self._compiled.given, "optimizer": self._compiled.optimizer}
        jit = given["jit_compile"]
        config: dict[str, Any] = serialize({**given, "jit_compile": jit == "auto" or bool(jit)})
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Call `compile` with what `get_compile_config` gave; the optimizer begins anew.

        A class with a `compile` of its own is left alone, with a warning: it has to override this
        method too.
        """
        if getattr(type(self), "compile", None) is not Trainer.compile:
            warn(
                f"{type(self).__name__} has a compile() of its own, which was not called: override "
                "compile_from_config(config) too, or call compile()"
            )
            return
        if not isinstance(config, Mapping):
            raise TypeError(f"compile_from_config: config must be a dict, got {config!r}")
        given = deserialize(config)
        if given.get("jit_compile"):  # what "auto" is in a config, and what files of Keras say
            given["jit_compile"] = "auto"
        self.compile(**given)  # type: ignore[attr-defined]
        if self.built:  # type: ignore[attr-defined]
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Write the model whole to a `.keras` or `.h5` file; see `cdl.saving.save_model`.

        From a `.keras` file `load_model` and `fit(initial_epoch=k)` go on with the same bits as if
        nothing had come between.
        """
        saving.save_model(self, filepath, overwrite, zipped, **kwargs)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
    ) -> None:
        """Write all variables to a `.weights.h5` file; see `cdl.saving.save_weights`."""
        saving.save_weights(self, filepath, overwrite, max_shard_size)

    def load_weights(
        self, filepath: Any, skip_mismatch: bool = False, by_name: bool | None = None
    ) -> None:
        """Read all variables from a file; see `cdl.saving.load_weights`."""
        saving.load_weights(self, filepath, skip_mismatch, by_name)

    def export(
        self,
        filepath: Any,
        format: str | None = None,
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write what `predict` computes as C99 or ONNX; see `cdl.export.export_model`."""
        from cdl.export import export_model

        export_model(self, filepath, format, verbose, input_signature, **kwargs)

    def quantize(self, mode: Any = None, **kwargs: Any) -> None:
        """Not supported: cdl computes in float32.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("quantize: cdl computes in float32 only")

    def to_json(self, **kwargs: Any) -> str:
        """The model's config, with what it was compiled with, as JSON; weights are not in it.

        Args:
            kwargs: of `json.dumps`, such as `indent`.
        """
        return json.dumps(serialize(self), **kwargs)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> "Model":
    """A new model, with new weights, from what `Model.to_json` gave, or Keras's.

    Args:
        json_string: the JSON.
        custom_objects: classes and functions of the user's own, by name.

    Raises:
        ValueError: it is no JSON, or not that of a model.
        TypeError: a class in it is not known.
    """
    if not isinstance(json_string, (str, bytes)):
        raise TypeError(f"model_from_json: json_string must be a string, got {json_string!r}")
    try:
        config = json.loads(json_string)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"model_from_json: json_string must be JSON: {error}") from None
    return model_from_config(config, custom_objects)


def model_from_config(config: Any, custom_objects: Mapping[str, Any] | None = None) -> "Model":
    """The same from the config itself."""
    from cdl.models.model import Model

    if not isinstance(config, Mapping) or "class_name" not in config:
        raise ValueError(f"the config of a model must be a dict with a class_name, got {config!r}")
    model = _serial.deserialize(config, custom_objects)
    if not isinstance(model, Model):
        raise ValueError(f"the config must be that of a model, got one of {config['class_name']!r}")
    return model
