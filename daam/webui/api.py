"""HTTP routes that only read: finished generations by their random id, and the words of a prompt that was typed.

Whoever may not use the WebUI may not read them either: `--api-auth` and `--gradio-auth` hold here too.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any, get_args

from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from daam.errors import PromptError
from daam.prompt import PromptTable, parse_prompt, prompt_to_data
from daam.prompt.terms import every_word
from daam.results.declaring import Setting
from daam.results.report import make_report
from daam.results.result import Result
from daam.results.settings import SETTINGS
from daam.results.viewer.data import prompt_frames, viewer_of, word_spans
from daam.results.viewer.page import report_html
from daam.tracing.plan import Side
from daam.webui.hosts import host
from daam.webui.prompts import clip_tokenizer, table_of
from daam.webui.result_store import store

ROOT = "/attention-heatmap/v1"
_BASIC = Depends(HTTPBasic(auto_error=False))


def add_routes(_demo: Any, app: FastAPI) -> None:
    """The WebUI calls it when the server has started."""

    def allowed(request: Request, credentials: HTTPBasicCredentials | None = _BASIC) -> None:
        if not may_read(app, request, credentials):
            raise HTTPException(401, "Incorrect username or password", headers={"WWW-Authenticate": "Basic"})

    guard = [Depends(allowed)]
    app.add_api_route(f"{ROOT}/results/{{name}}", get_result, methods=["GET"], dependencies=guard)
    app.add_api_route(f"{ROOT}/results/{{name}}/viewer/{{image}}", read_viewer, methods=["POST"], dependencies=guard)
    app.add_api_route(f"{ROOT}/results/{{name}}/report", get_report, methods=["GET"], dependencies=guard)
    app.add_api_route(f"{ROOT}/frames", read_frames, methods=["POST"], dependencies=guard)
    app.add_api_route(f"{ROOT}/arguments", get_arguments, methods=["GET"], dependencies=guard)


def may_read(app: Any, request: Request, credentials: HTTPBasicCredentials | None) -> bool:
    """Whether a request has what the WebUI asks of its own: the API's user, or a page that logged in."""
    api_users = host().api_users()
    page_needs_login = getattr(app, "auth", None) is not None
    if not api_users and not page_needs_login:
        return True
    if api_users and credentials is not None and _is_user(api_users, credentials):
        return True
    cookies = [value for name, value in request.cookies.items() if name.startswith("access-token")]
    return page_needs_login and any(app.tokens.get(cookie) is not None for cookie in cookies)


def _is_user(users: str, credentials: HTTPBasicCredentials) -> bool:
    given = f"{credentials.username}:{credentials.password}".encode()
    matches = [secrets.compare_digest(user.strip().encode(), given) for user in users.split(",")]
    return any(matches)


def get_result(name: str) -> dict[str, Any]:
    """Statistics and token tables of one finished generation, while it is kept."""
    return result_to_data(_found(name))


def read_viewer(name: str, image: int, infotext: str = Body("", embed=True)) -> dict[str, Any] | None:
    """What the viewer shows of one picture, and under `result` which one it is; null once it is no longer kept.

    A cell of X/Y/Z plot comes from a generation of its own, which its infotext tells.
    """
    found = store.find(name, image, infotext)
    result = store.get(found[0]) if found else None
    if found is None or result is None:
        return None
    return {**viewer_of(result, found[1]), "result": {"id": found[0], "image": found[1]}}


def get_report(name: str) -> HTMLResponse:
    """The viewers of a generation's pictures as one file that needs nothing else, while it is kept."""
    result = _found(name)
    page = report_html(result)
    return HTMLResponse(page, headers={"Content-Disposition": 'attachment; filename="report.html"'})


def _found(name: str) -> Result:
    result = store.get(name)
    if result is None:
        raise HTTPException(
            404, "expected the id of one of the last generations with heat maps; older ones are forgotten"
        )
    return result


def result_to_data(result: Result) -> dict[str, Any]:
    """As report.json of the command line, with the token table of each prompt."""
    data = make_report(result)
    for image, trace in zip(data["images"], result.traces):
        image["tokens"] = {
            side: None if (table := trace.table(side)) is None else prompt_to_data(table) for side in get_args(Side)
        }
    return data


def read_frames(prompt: str = Body(), negative: bool = Body(False)) -> dict[str, Any]:
    """The words of a prompt that was typed, the terms for them, and how each can be edited. Generates nothing."""
    try:
        table = _typed_table(prompt, negative)
        terms = [term.quoted for term in every_word(table)]
        frames = prompt_frames(table, negative=negative)
    except PromptError as error:
        raise HTTPException(422, str(error)) from None
    return {
        "prompt": prompt,
        "terms": terms,
        "words": [{"text": prompt[slice(*span)], "span": span} for span in word_spans(table)],
        "frames": frames.to_data(),
    }


def _typed_table(prompt: str, negative: bool) -> PromptTable:
    """The table by the WebUI's settings of now; by the settings it comes with where it has no checkpoint to ask."""
    if not negative:
        try:
            return table_of(prompt)
        except PromptError:
            raise
        except Exception:
            logging.getLogger(__name__).debug("the WebUI cannot say how it reads a prompt", exc_info=True)
    return parse_prompt(prompt, clip_tokenizer(), negative=negative)


def get_arguments() -> list[dict[str, Any]]:
    """The arguments of the script in their order, for `alwayson_scripts`."""
    return arguments_of(SETTINGS)


def arguments_of(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    return [
        {
            "position": position,
            "name": setting.name,
            "label": setting.label,
            "default": setting.default,
            "choices": list(setting.choices) or None,
            "range": [setting.minimum, setting.maximum] if setting.kind == "slider" else None,
            "help": setting.help,
        }
        for position, setting in enumerate(settings)
    ]
