"""Turns a prompt with editing and alternation into the text of every step. Knows no emphasis and no tokens."""

from __future__ import annotations

from dataclasses import dataclass

from lark import Token, Tree

from daam.errors import PromptError
from daam.prompt.limits import MAX_SCHEDULE_WORK, check_limit
from daam.prompt.schedule_syntax import read_syntax
from daam.prompt.source_text import SourceText


@dataclass(frozen=True)
class StepRule:
    """How the number of an edit becomes a step.

    Attributes:
        steps: steps of the first pass.
        hires_steps: steps of the hires pass when that pass is asked for, else None.
        use_old_scheduling: read a number below 1 as a fraction whether it has a point or not (before WebUI 1.6).
    """

    steps: int
    hires_steps: int | None = None
    use_old_scheduling: bool = False

    @property
    def is_hires(self) -> bool:
        """The rule of the hires pass applies; the old scheduling has none."""
        return self.hires_steps is not None and not self.use_old_scheduling

    @property
    def last_step(self) -> int:
        """Steps of the pass."""
        return self.hires_steps if self.hires_steps is not None and self.is_hires else self.steps

    def read(self, number: str) -> int:
        """The last step of an edit's first text; below 1 when the second text is active from the start."""
        try:
            return min(self.last_step, int(self._exact(number)))
        except OverflowError:
            raise PromptError(f"the step {number.strip()!r} of an edit is too large; write a finite number") from None

    def _exact(self, number: str) -> float:
        value = float(number.strip())  # which takes away more kinds of blanks than float does
        if self.use_old_scheduling:
            return value * self.last_step if value < 1 else value
        if "." in number:
            return (value - (1.0 if self.is_hires else 0.0)) * self.last_step
        return value - (self.steps if self.is_hires else 0)


def read_schedule(part: SourceText, rule: StepRule) -> list[tuple[int, SourceText]]:
    """The texts of one AND part in order, each with the last step that uses it.

    Neighbours may be equal: the WebUI starts a new entry at every step that any edit names.
    """
    tree = read_syntax(part.text) if "[" in part.text else None  # only square brackets edit and alternate
    if tree is None:
        return [(rule.last_step, part)]
    nodes = list(tree.iter_subtrees())
    last_steps = {id(node): rule.read(_number(node)) for node in nodes if node.data == "edit"}
    ends = {rule.last_step, *(step for step in last_steps.values() if step >= 1)}
    if any(node.data == "alternate" for node in nodes):
        ends.update(range(1, rule.last_step + 1))
    check_limit(len(ends) * len(nodes), MAX_SCHEDULE_WORK, "pieces of text over all steps of its schedule")
    return [(end, _text_at(end, tree, part, last_steps)) for end in sorted(ends)]


def _text_at(step: int, tree: Tree[Token], part: SourceText, last_steps: dict[int, int]) -> SourceText:
    """What stands in the prompt at one step. A stack in place of recursion, since brackets may nest deeply."""
    pieces: list[SourceText] = []
    waiting: list[Tree[Token] | Token] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Token):
            pieces.append(_typed(node, part))
        elif node.data == "edit":
            waiting.extend(_active_text(node, step <= last_steps[id(node)]))
        elif node.data == "alternate":
            texts = _texts(node)
            waiting.append(texts[(step - 1) % len(texts)])
        else:
            waiting.extend(child for child in reversed(node.children) if child is not None)
    return SourceText.join(pieces)


def _active_text(edit: Tree[Token], is_before: bool) -> list[Tree[Token]]:
    """The first text of an edit or its second; [a:10] has no first one."""
    texts = _texts(edit)
    if is_before:
        return texts[:-1]
    return texts[-1:]


def _texts(node: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in node.children if isinstance(child, Tree)]


def _number(edit: Tree[Token]) -> str:
    return next(str(child) for child in edit.children if isinstance(child, Token) and child.type == "WHEN")


def _typed(token: Token, part: SourceText) -> SourceText:
    start = token.start_pos or 0
    return part.slice(start, start + len(token))
