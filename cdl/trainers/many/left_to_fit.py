"""LeftToFit: errors of runs that `fit` does again, one model after the other."""

from __future__ import annotations

from types import TracebackType

from cdl._common.errors import StandsInError, is_cdls, warn_in_any_run

# Errors of data, or of what only `fit` can do.
_OF_FIT = TypeError, ValueError, ArithmeticError, MemoryError, NotImplementedError, StandsInError


class LeftToFit:
    """Context of models that train together: an error ends it, as `fit` does all of it again.

    `fit` raises errors of data and of a user's code. Others are faults of cdl's own, which would go
    unseen, since `fit` gives the same bits, slowly: RuntimeWarning tells of them.
    """

    def __enter__(self) -> None:
        """Nothing to begin with."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> bool:
        """Whether there was an error that `fit` may do without."""
        if not isinstance(error, Exception):
            return False
        if not isinstance(error, _OF_FIT) and _is_of_cdl(at):
            warn_in_any_run(
                "fit: models train one after the other, after a fault of cdl's own: "
                f"{type(error).__name__}: {error}",
                RuntimeWarning,
            )
        return True


def _is_of_cdl(at: TracebackType | None) -> bool:
    """Whether an error came without a call of a user's code."""
    while at is not None and is_cdls(at.tb_frame.f_code.co_filename):
        at = at.tb_next
    return at is None
