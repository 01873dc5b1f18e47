"""Options in groups: a command takes a dataclass, and each of its fields is an option of the command line."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints


def takes(parameter: str, kind: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command, in place of one parameter, the fields of a dataclass.

    The fields are annotated as options are; the command gets them as one value.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def grouped(**values: Any) -> Any:
            chosen = kind(**{entry.name: values.pop(entry.name) for entry in fields(kind)})
            return command(**values, **{parameter: chosen})

        hints = get_type_hints(kind, include_extras=True)
        keyword = inspect.Parameter.KEYWORD_ONLY
        options = [
            inspect.Parameter(f.name, keyword, default=f.default, annotation=hints[f.name]) for f in fields(kind)
        ]
        own = [p.replace(kind=keyword) for p in inspect.signature(command).parameters.values() if p.name != parameter]
        del grouped.__wrapped__
        grouped.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
        grouped.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
        return grouped

    return decorate
