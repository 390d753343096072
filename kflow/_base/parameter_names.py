"""Names of parameters, checked before ``__init__`` sees them: errors name the class that was called."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

__all__ = ["NamedParameters"]

_Object = TypeVar("_Object", bound="NamedParameters")


class _SignatureOfInit:
    """A class's signature by its ``__init__``: early versions of Python 3.11 show that of ``__new__``."""

    def __get__(self, instance: object, owner: Any) -> inspect.Signature:
        if instance is not None:  # which is called by a method of its own, if at all
            raise AttributeError("__signature__")
        signature = inspect.signature(owner.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class NamedParameters:
    """Base of classes whose ``__init__`` may be that of a base class, of which no message should speak.

    Raises
    ------
    TypeError
        For an unknown parameter, naming the class that was called and the most similar parameter.
    """

    __signature__ = _SignatureOfInit()

    def __new__(cls: type[_Object], *_: Any, **given: Any) -> _Object:
        """Check the names of the parameters and return a new object."""
        known = _names(cls)  # type: ignore[arg-type]
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            similar = get_close_matches(unknown, known, 1)
            hint = f"did you mean {similar[0]}?" if similar else f"it has {', '.join(known)}"
            raise TypeError(f"{cls.__name__} has no parameter {unknown!r}: {hint}")
        return super().__new__(cls)


@lru_cache(maxsize=256)
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(cls.__init__).parameters)[1:]
