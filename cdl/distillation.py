"""Knowledge distillation: a small student model trained by a large teacher."""

from __future__ import annotations

from typing import Any

from cdl import losses, metrics, models, ops, tree
from cdl._common.public_names import publish
from cdl._common.validation import expected, is_real
from cdl._configs.serialization import deserialize, register_public, serialize

__all__ = ["DistillationLoss", "Distiller", "FeatureDistillation", "LogitsDistillation"]


def _function(loss: Any) -> Any:
    return losses.get(loss) if isinstance(loss, str) else loss


def _functions(owner: str, loss: Any) -> Any:
    found = tree.map_structure(_function, loss)
    if all(each is None for each in tree.flatten(found)):
        raise ValueError(f"{owner}: at least one loss must be non-`None`, got {loss!r}")
    return found


class DistillationLoss:
    """Base of losses between the outputs of a student and its teacher."""

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """Loss of a batch, one number.

        Args:
            teacher_outputs: what the teacher gives.
            student_outputs: what the student gives.
            kwargs: for classes of one's own.
        """
        raise NotImplementedError("Subclasses must implement compute_loss")

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Check that outputs have equal structures; ValueError.

        Args:
            teacher_outputs: what the teacher gives.
            student_outputs: what the student gives.
        """
        tree.assert_same_structure(teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Check that two models can be compared; ValueError. This one takes all.

        Args:
            teacher: the teacher.
            student: the student.
        """

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create a loss from the dict that `get_config` returned."""
        return cls(**{**config, "loss": deserialize(config["loss"])})


def _total(values: Any) -> Any:
    flat = tree.flatten(values)
    return sum(flat[1:], flat[0])


class LogitsDistillation(DistillationLoss):
    """Distillation loss of logits, divided by a temperature.

    Args:
        temperature: above 0; a high one shows how the teacher ranks the classes that it rejects.
        loss: a name, a loss, a function, or a structure of these as the outputs have it. A
            `KLDivergence` object is given probabilities, and its loss multiplied by the square of
            the temperature; all others are given the divided logits.

    Raises:
        ValueError: a temperature that is no number above 0, or no loss.
    """

    def __init__(self, temperature: float = 3.0, loss: Any = "kl_divergence") -> None:
        self.loss = _functions("LogitsDistillation", loss)
        if not is_real(temperature):
            raise ValueError(f"temperature must be a number, got {type(temperature)}")
        if temperature <= 0:
            raise ValueError("temperature must be positive.")
        self.temperature = temperature

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """Mean loss, summed over the outputs.

        Args:
            teacher_outputs: logits.
            student_outputs: logits.
            kwargs: not looked at.
        """

        def one(loss: Any, teacher: Any, student: Any) -> Any:
            if loss is None:
                return 0.0
            teacher, student = teacher / self.temperature, student / self.temperature
            if isinstance(loss, losses.KLDivergence):
                teacher, student = ops.softmax(teacher), ops.softmax(student)
                return ops.mean(loss(teacher, student)) * self.temperature**2
            return ops.mean(loss(teacher, student))

        return _total(tree.map_structure(one, self.loss, teacher_outputs, student_outputs))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {"temperature": self.temperature, "loss": serialize(self.loss)}


class FeatureDistillation(DistillationLoss):
    """Distillation loss of a layer's outputs in each model, or of the models' outputs.

    Args:
        loss: a name, a loss, a function, or a structure of these as the outputs have it.
        teacher_layer_name: a layer of the teacher; None for its output.
        student_layer_name: a layer of the student; None for its output.

    Raises:
        ValueError: no loss.
    """

    def __init__(
        self,
        loss: Any = "mse",
        teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
    ) -> None:
        self.teacher_layer_name, self.student_layer_name = teacher_layer_name, student_layer_name
        self.loss = _functions("FeatureDistillation", loss)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Check that models have these layers and symbolic outputs; ValueError.

        Args:
            teacher: the teacher.
            student: the student.
        """
        named = {"teacher": (teacher, self.teacher_layer_name)}
        named["student"] = (student, self.student_layer_name)
        if self.teacher_layer_name is None and self.student_layer_name is None:
            return
        for kind, (model, name) in named.items():
            if getattr(model, "inputs", None) is None:
                raise ValueError(
                    "FeatureDistillation with specific layer names requires Functional or "
                    f"Sequential models. The {kind} model appears to be subclassed."
                )
            if name is not None:
                try:
                    model.get_layer(name=name)
                except ValueError as error:
                    raise ValueError(f"In {kind} model: {error}") from error

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Raise a ValueError for outputs of other structures than the loss.

        Args:
            teacher_outputs: what the teacher gives.
            student_outputs: what the student gives.
        """
        super().validate_outputs(teacher_outputs, student_outputs)
        try:
            tree.assert_same_structure(self.loss, teacher_outputs)
        except ValueError as error:
            raise ValueError(f"Loss structure mismatch: {error}") from error

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """Mean loss, summed over the outputs.

        Args:
            teacher_outputs: what the teacher gives.
            student_outputs: what the student gives.
            kwargs: not looked at.
        """

        def one(loss: Any, teacher: Any, student: Any) -> Any:
            return 0.0 if loss is None else ops.mean(loss(teacher, student))

        return _total(tree.map_structure(one, self.loss, teacher_outputs, student_outputs))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {
            "loss": serialize(self.loss),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }


class Distiller(models.Model):
    """Model that trains a student by labels and by the outputs of its teacher.

    The loss is ``w * student + (1 - w) * distillation``; the second is the weighted sum of the
    distillation losses. The teacher does not learn, and runs as in inference. A call of the
    distiller is one of the student.

    Args:
        teacher: a model.
        student: a model with inputs and outputs of the same shapes.
        distillation_losses: a `DistillationLoss`, or a list of them.
        distillation_loss_weights: a number for each of a list; None for ones.
        student_loss_weight: w, from 0 to 1.
        name: of the model.
        kwargs: see `Model`.

    Raises:
        ValueError: models that do not fit together, or other arguments out of their range.
    """

    def __init__(
        self,
        teacher: Any,
        student: Any,
        distillation_losses: Any,
        distillation_loss_weights: Any = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        for kind, model in (("Teacher", teacher), ("Student", student)):
            if not isinstance(model, models.Model):
                raise ValueError(f"{kind} must be a Model, got {type(model)}")
        for part in ("inputs", "outputs"):
            _check_alike(part, getattr(teacher, part, None), getattr(student, part, None))
        if not is_real(student_loss_weight):
            raise ValueError(
                f"student_loss_weight must be a number, got {type(student_loss_weight)}"
            )
        if not 0 <= student_loss_weight <= 1:
            raise ValueError(
                f"student_loss_weight must be between 0.0 and 1.0, got {student_loss_weight}"
            )
        if distillation_losses is None:
            raise ValueError("'distillation_losses' cannot be `None`.")
        several = isinstance(distillation_losses, (list, tuple))
        listed = list(distillation_losses) if several else [distillation_losses]
        weights = distillation_loss_weights if several else None
        weights = [1.0] * len(listed) if weights is None else list(weights)
        if len(weights) != len(listed):
            raise ValueError(
                f"Number of distillation_loss_weights ({len(weights)}) must match number of "
                f"distillation_losses ({len(listed)})"
            )
        for each in listed:
            each.validate_model_compatibility(teacher, student)
        self.teacher, self.student = teacher, student
        self.student_loss_weight = student_loss_weight
        self.distillation_losses, self.distillation_loss_weights = listed, weights
        self._seen = {
            kind: _with_layers(
                model, [getattr(each, f"{kind}_layer_name", None) for each in listed]
            )
            for kind, model in (("teacher", teacher), ("student", student))
        }
        self.teacher.trainable = False
        self.student_loss_tracker = metrics.Mean(name="student_loss")
        self.distillation_loss_tracker = metrics.Mean(name="distillation_loss")
        self.total_loss_tracker = metrics.Mean(name="total_loss")

    def compile(  # type: ignore[override]
        self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Configure the training of the student.

        Args:
            optimizer: see `Model.compile`.
            loss: of the labels; it must be given.
            metrics: a list.
            kwargs: see `Model.compile`.

        Raises:
            ValueError: no loss, or metrics that are no list.
        """
        if loss is None:
            raise ValueError("'loss' cannot be `None`.")
        if metrics is not None and not isinstance(metrics, (list, tuple)):
            raise ValueError(f"metrics must be a list or tuple, got {type(metrics)}")
        self._student_loss = tree.map_structure(_function, loss)
        super().compile(optimizer=optimizer, loss=None, metrics=metrics, **kwargs)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.student(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Total loss of a batch.

        Args:
            x: the inputs.
            y: the labels, or None.
            y_pred: what the student gives.
            sample_weight: not looked at, as in Keras.
            training: whether the student is to be trained by it.
        """
        del sample_weight
        if y_pred is None:
            y_pred = self(x, training=training)
        student: Any = 0.0
        if self.student_loss_weight > 0 and y is not None:
            student = _total(
                tree.map_structure(
                    lambda loss, a, b: ops.mean(loss(a, b)), self._student_loss, y, y_pred
                )
            )
        distilled: Any = 0.0
        if self.student_loss_weight < 1:
            seen = self._features(x, y_pred)
            for each, weight in zip(
                self.distillation_losses, self.distillation_loss_weights, strict=True
            ):
                named = getattr(each, "teacher_layer_name", None) is not None
                teacher, own = (
                    seen[kind][(named and getattr(each, f"{kind}_layer_name")) or ""]
                    for kind in ("teacher", "student")
                )
                each.validate_outputs(teacher, own)
                loss = each.compute_loss(teacher, own)
                if len(getattr(loss, "shape", ())) > 0:
                    raise expected(type(each).__name__, "compute_loss", "one number", loss.shape)
                distilled = distilled + weight * loss
        w = self.student_loss_weight
        total = w * student + (1.0 - w) * distilled
        self.student_loss_tracker.update_state(student)
        self.distillation_loss_tracker.update_state(distilled)
        self.total_loss_tracker.update_state(total)
        return total

    def _features(self, x: Any, y_pred: Any) -> dict[str, dict[str, Any]]:
        """Outputs of both models, under "", and of the layers that losses name."""
        teacher, student = self._seen["teacher"], self._seen["student"]
        found = teacher(x, training=False) if teacher else {"": self.teacher(x, training=False)}
        own = student(x, training=True) if student else {}
        return {"teacher": found, "student": {**own, "": y_pred}}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "teacher": serialize(self.teacher),
            "student": serialize(self.student),
            "distillation_losses": [serialize(each) for each in self.distillation_losses],
            "distillation_loss_weights": self.distillation_loss_weights,
            "student_loss_weight": self.student_loss_weight,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        for name in ("teacher", "student", "distillation_losses"):
            config[name] = deserialize(config[name], custom_objects)
        return cls(**config)


def _check_alike(part: str, teacher: Any, student: Any) -> None:
    for a, b in zip(teacher or [], student or [], strict=False):
        if len(a.shape) != len(b.shape):
            raise ValueError(
                f"Teacher and student {part} shapes have different dimensions. Teacher: {a.shape}, "
                f"Student: {b.shape}."
            )
        if any(
            None not in pair and pair[0] != pair[1] for pair in zip(a.shape, b.shape, strict=True)
        ):
            raise ValueError(
                f"Teacher and student {part} shapes are incompatible. Teacher: {a.shape}, Student: "
                f"{b.shape}. All dimensions must match."
            )
        if a.dtype != b.dtype:
            raise ValueError(
                f"Teacher and student {part} dtypes must match. Teacher: {a.dtype}, Student: "
                f"{b.dtype}."
            )


def _with_layers(model: Any, names: list[str | None]) -> Any:
    """Model that also outputs those layers; None if none is wanted."""
    wanted = {name for name in names if name}
    if not wanted:
        return None
    outputs = model.outputs
    found = {"": outputs[0] if len(outputs) == 1 else list(outputs)}
    found |= {name: model.get_layer(name=name).output for name in sorted(wanted)}
    inputs = model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)
    return models.Model(inputs, found)


for _each in (Distiller, FeatureDistillation, LogitsDistillation):
    register_public("keras.distillation", _each)

publish(globals())
