"""Names of Keras that cdl lacks: the reasons, and alternatives."""

from __future__ import annotations

import re

# Names below `keras`, as patterns; why cdl does not have them; and what is near. Either may be "".
# The first pattern that fits counts.
REASONS = {
    # --- layers ---
    r"layers\.(Flax|Jax|TFSM)Layer|layers\.TorchModuleWrapper": (
        "there is no other framework underneath",
        "layers.Lambda for functions in NumPy or cdl.ops, layers.Layer with a call",
    ),
    # --- training and files ---
    r"callbacks\.OrbaxCheckpoint": (
        "Orbax is for arrays of JAX",
        "callbacks.ModelCheckpoint and callbacks.BackupAndRestore",
    ),
    r"distribution\.(ModelParallel|LayoutMap|TensorLayout|distribute_tensor)": (
        "it splits batches among processes, and no model",
        "distribution.DataParallel",
    ),
    r"export\.ExportArchive": (
        "a SavedModel is TensorFlow's",
        "model.export('model.onnx'), and 'model.c'",
    ),
    # --- settings ---
    r"quantizers\.(AWQ|GPTQ|Float8).*": (
        "",
        "quantizers.Int8QuantizationConfig and quantizers.Int4QuantizationConfig",
    ),
    r"SymbolicScope": ("", "KerasTensor, on which layers and functions of cdl.ops are called"),
}

# Reasons for names that TensorFlow and PyTorch have, but Keras does not.
_GRADIENTS = (
    "GradientTape, value_and_grad and grad; model.gradients(x, y) in a train_step, or "
    "value_and_grad(loss, variables=weights)"
)
OF_OTHERS = {
    r"layers\.CuDNN(LSTM|GRU)": ("there is no GPU", "layers.LSTM and layers.GRU"),
    r"((backend|ops)\.)?(GradientTape|gradients?)|(backend|ops)\.grad": (
        "gradients are the core's own",
        _GRADIENTS,
    ),
    r"((backend|ops)\.)?(jacobian|jac(fwd|rev)|jacobian_vector_product|hvp|vjp)": (
        "it has derivatives of one number, and those in a direction",
        "grad, jvp, jvp of grad, and hessian",
    ),
    r"(backend|ops)\.hessian|backend\.jvp": ("", "hessian and jvp"),
    r"(ops\.)?[vp]map": ("", "ops.vectorized_map; functions are compiled for all samples anyway"),
    r"optimizers\.l_bfgs\w*": ("", "optimizers.LBFGS"),
    r"layers\.(Linear|FullyConnected)": ("", "layers.Dense"),
    r"preprocessing\.text(\..*)?": ("", "layers.TextVectorization"),
    r"optim": ("", "optimizers, layers, activations and losses"),
}


def explained(name: str) -> str | None:
    """Explanation of a missing name below `keras`; None for other names.

    Args:
        name: such as "layers.Conv2D"; a layer is known without its module too.
    """
    for each, flag in ((name, re.IGNORECASE), (f"layers.{name}", re.NOFLAG)):
        for pattern, (why, near) in (*REASONS.items(), *OF_OTHERS.items()):
            if re.fullmatch(pattern, each, flag):
                said = f"cdl has no {name}{f': {why}' if why else ''}"
                return f"{said}. Near: {near}" if near else said
    return None
