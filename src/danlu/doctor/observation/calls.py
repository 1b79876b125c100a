"""Observe the calls of a module without hooks of torch.

The observers are stored in the attribute `_compiled_call_impl` of the module, through which torch calls a module that
is compiled in place. torch leaves this attribute out of copies and pickles, and torch.jit does not look at it, so
that a model may be copied, saved, scripted and exported while it is observed, and its copies are not.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.jit._recursive as torch_script
from torch import nn

ATTRIBUTE = "_compiled_call_impl"
Before = Callable[[nn.Module, tuple, dict], object]
After = Callable[[nn.Module, tuple, dict, Any], object]
_lock = threading.Lock()
_observed = [0]  # number of calls with observers
_TORCH_CALL = getattr(nn.Module._wrapped_call_impl, "__code__", None)  # of the function that calls the attribute


class Observer:
    """Callbacks around the calls of one module; `remove` ends them, like a handle of torch."""

    def __init__(
        self, module: nn.Module, before: Before | None, after: After | None, failed: Callable[[], object] | None
    ) -> None:
        self.before, self.after, self.failed = before, after, failed
        self._module: nn.Module | None = module
        self._running: Any = None  # hook of torch for the end of a call that had begun before

    def remove(self) -> None:
        """Stop observing; may be called more than once."""
        module, self._module = self._module, None
        if self._running is not None:
            self._running.remove()
            self._running = None
        if module is None:
            return
        with _lock:
            call = vars(module).get(ATTRIBUTE)
            while isinstance(call, ObservedCall) and self not in call.observers and call.compiled is not None:
                call = call.compiled  # the user compiled the module while it was observed
            if isinstance(call, ObservedCall):
                call.observers = tuple(one for one in call.observers if one is not self)
                if not call.observers:
                    _hide_from_script(-1)
                    if vars(module).get(ATTRIBUTE) is call:
                        call.restore()

    def end_running_call(self) -> None:
        """Call `after` at the end of the call that runs at this moment, which began before it was observed."""
        if self._module is not None:
            self._running = self._module.register_forward_hook(self._after_running_call, with_kwargs=True)

    def _after_running_call(self, module: nn.Module, args: tuple, kwargs: dict, outputs: Any) -> None:
        if self._running is not None:
            self._running.remove()
            self._running = None
        if self.after is not None:
            self.after(module, args, kwargs, outputs)


def observe(
    module: nn.Module,
    before: Before | None = None,
    after: After | None = None,
    failed: Callable[[], object] | None = None,
) -> Observer:
    """Call `before(module, args, kwargs)` and `after(module, args, kwargs, outputs)` around each call of a module.

    failed: called when the call raises. Nothing is called while torch.compile traces the module.
    """
    observer = Observer(module, before, after, failed)
    with _lock:
        call = vars(module).get(ATTRIBUTE)
        if not isinstance(call, ObservedCall):
            call = ObservedCall(module, call)
            vars(module)[ATTRIBUTE] = call  # past __setattr__, which modules may override
            _hide_from_script(1)
        call.observers = (*call.observers, observer)
    return observer


def _hide_from_script(change: int) -> None:
    """Make torch.jit.script skip the attribute, whose annotation it cannot resolve, while any call is observed."""
    ignored = vars(torch_script).get("ignored_attributes")
    _observed[0] += change
    if isinstance(ignored, list):
        if _observed[0] and ATTRIBUTE not in ignored:
            ignored.append(ATTRIBUTE)
        elif not _observed[0] and ATTRIBUTE in ignored:
            ignored.remove(ATTRIBUTE)


def is_compiled_in_place(module: nn.Module) -> bool:
    """Return whether a module was compiled by module.compile()."""
    call = getattr(module, ATTRIBUTE, None)
    return (call.compiled if isinstance(call, ObservedCall) else call) is not None


def kwargs_of_call() -> dict[str, Any]:
    """Keyword arguments of the call that the global hook interrupts: torch passes it only the others."""
    frame = sys._getframe(1)
    for _ in range(8):
        if frame is None:
            return {}
        if frame.f_code.co_name in ("inner", "_call_impl"):
            kwargs = frame.f_locals.get("kwargs")
            return dict(kwargs) if isinstance(kwargs, dict) else {}
        frame = frame.f_back
    return {}


class ObservedCall:
    """The call of a module with its observers. A copy or a pickle of it is None, which is the value without them."""

    def __init__(self, module: nn.Module, compiled: Callable | None) -> None:
        self.module, self.compiled = module, compiled
        self.run: Callable[..., Any] = module._call_impl if compiled is None else compiled
        self.observers: tuple[Observer, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module, with its observers before and after."""
        if torch.compiler.is_compiling():
            return self.run(*args, **kwargs)
        frame = sys._getframe(1)
        if frame.f_code is _TORCH_CALL and (caller := frame.f_locals["self"]) is not self.module:
            return caller._call_impl(*args, **kwargs)  # DataParallel and copy.copy took the attributes along
        module, observers = self.module, self.observers
        for one in observers:
            if one.before is not None:
                one.before(module, args, kwargs)
        try:
            outputs = self.run(*args, **kwargs)
        except BaseException:
            for one in observers:
                if one.failed is not None:
                    one.failed()
            raise
        for one in observers:
            if one.after is not None:
                one.after(module, args, kwargs, outputs)
        return outputs

    def restore(self) -> None:
        """Take the observed call out of the module."""
        if self.compiled is None:
            vars(self.module).pop(ATTRIBUTE, None)
        else:
            vars(self.module)[ATTRIBUTE] = self.compiled

    def __copy__(self) -> None:
        return None

    def __deepcopy__(self, memo: dict) -> None:
        return None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()
