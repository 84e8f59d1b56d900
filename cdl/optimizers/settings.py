"""Attributes of an optimizer that take effect from the next step on when set."""

from __future__ import annotations

import functools
import inspect
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cdl._common.overriding import cdl_base
from cdl._common.validation import number
from cdl._core import set_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cdl.optimizers.base_optimizer import Optimizer

UNLISTED = ("decay", "rate_factors")  # as keywords that no signature lists
SHARED = (
    *("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum"),
    *("ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps"),
    *UNLISTED,
)


class _Hyper:
    """Check of an argument that a class of optimizers has beside the shared ones."""

    def __init__(self, check: Callable[[str, str, Any], Any], none: bool) -> None:
        self._check = check
        self._none = none

    def checked(self, owner: str, name: str, value: Any) -> Any:
        """Value as the attribute has it."""
        return None if value is None and self._none else self._check(owner, name, value)


def hyper(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    check: Callable[[str, str, Any], Any] | None = None,
    none: bool = False,
) -> Any:
    """Argument that a class of optimizers declares among its attributes.

    The constructor of the class has its default value and hands all arguments on to the base, which
    checks it and keeps it as an attribute; its config has it.

    Args:
        low: the least number that is allowed.
        high: the largest number that is allowed.
        above: a number that it must be larger than.
        below: a number that it must be less than.
        check: takes the class, the argument's name and its value, in place of those limits.
        none: whether None is allowed.
    """
    limits = functools.partial(number, low=low, high=high, above=above, below=below)
    return _Hyper(check or limits, none)


class Settings:
    """Mixin of optimizers: constructor arguments as attributes that can be set.

    One that is set on a built optimizer is checked as the constructor does. Before that, `build`
    checks all of them, since subclasses set theirs one by one.
    """

    extra_arguments: Sequence[str] = ()  # beside the shared ones; attributes have their names
    _hypers: Mapping[str, _Hyper] = MappingProxyType({})
    _settings: frozenset[str] = frozenset(SHARED)  # all of them
    built = False
    _changes = 0
    _fixed: Sequence[str] = ()  # those that another optimizer around this one has been built for

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: each for name, each in vars(cls).items() if isinstance(each, _Hyper)}
        for name in own:
            delattr(cls, name)
        cls._hypers = {**cls._hypers, **own}
        cls.extra_arguments = (*cls.extra_arguments, *own)
        cls._settings = frozenset((*SHARED, *cls.extra_arguments))

    @property
    def changes(self) -> int:
        """Number of changes since the optimizer was built."""
        return self._changes

    def _set_checked(self, name: str, value: Any) -> None:
        """Check one of `_settings` of a built optimizer, and set it."""
        if name in self._fixed:
            raise ValueError(
                f"{type(self).__name__}: {name} must be set before the LossScaleOptimizer around "
                f"it is built, which the first training does; got {value!r}"
            )
        self._check_settings(**{name: value})
        self._set(name, value)

    def _check_settings(self: Any, **changed: Any) -> None:
        """Check values, set or to be set; ValueError for those that the constructor refuses."""
        cls: Any = cdl_base(type(self))
        given = {**{each: getattr(self, each) for each in _names_of(cls)}, **changed}
        try:
            _check(cls, **given)
        except TypeError:  # of a list, say, which cannot be looked up
            cls(learning_rate=0.0, name=self.name, **given)

    def _set(self: Any, name: str, value: Any) -> None:
        """Set an attribute and update the slots, averages and steps that depend on it."""
        optimizer: Optimizer = self
        updates = int(optimizer.iterations)
        object.__setattr__(optimizer, name, value)
        if name == "gradient_accumulation_steps":
            optimizer.step = updates * (value or 1)
        optimizer._slots.follow(optimizer)
        optimizer._executors.clear()
        optimizer._changes += 1


# Not written as a method: type checkers would take any attribute to be there then.
Settings.__setattr__ = set_setting  # type: ignore[method-assign]


@functools.lru_cache(64, typed=True)  # many a program builds hundreds with the same ones
def _check(cls: type[Optimizer], **settings: Any) -> None:
    """Create an optimizer of one of cdl's classes, which checks its arguments."""
    cls(learning_rate=0.0, name=cls.__name__, **settings)


@functools.cache  # each optimizer that is built asks, and a signature takes as long as its checks
def _names_of(cls: type[Optimizer]) -> frozenset[str]:
    """Arguments of one of cdl's optimizers that can be set."""
    known = {*inspect.signature(cls).parameters, *UNLISTED}
    return frozenset(known.intersection((*SHARED, *cls.extra_arguments)))
