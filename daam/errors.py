"""Every error that a user can put right. Knows nothing else of the package.

DaamError
├── PromptError     the prompt cannot be turned into a token table
├── TermError       an attention term cannot be read or has no map
├── SettingError    an option has a value that does not fit
├── ShapeError      tensors or pictures whose sizes do not fit together
├── TraceError      nothing was traced, or the model cannot be traced
├── NotKeptError    the trace did not keep what is asked for
├── RecordError     a record file cannot be read
└── ModelError      a model cannot be found, loaded or used
"""


class DaamError(Exception):
    """Base of all errors below; its text says what was expected, what came and what to do."""


def describe(error: BaseException) -> str:
    """What an error says; one that is not ours with its type's name, without which few can be understood."""
    return str(error) if isinstance(error, DaamError) else f"{type(error).__name__}: {error}"


class PromptError(DaamError, ValueError):
    """The prompt cannot be turned into a token table."""


class TermError(DaamError, ValueError):
    """An attention term cannot be read, or it has no map."""


class SettingError(DaamError, ValueError):
    """An option has a value that does not fit."""


class ShapeError(DaamError, ValueError):
    """Tensors or pictures whose sizes do not fit together."""


class TraceError(DaamError, RuntimeError):
    """Nothing was traced, or the model cannot be traced."""


class NotKeptError(DaamError, LookupError):
    """The trace did not keep what is asked for; the text names the option to set."""


class RecordError(DaamError, ValueError):
    """A record file cannot be read."""


class ModelError(DaamError, RuntimeError):
    """A model cannot be found, loaded or used."""
