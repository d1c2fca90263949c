"""The one table of settings: a throw-away setting reaches every place, and a mistake in the table is seen at import."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from daam.cli.generate import make_parser
from daam.cli.options import read_settings
from daam.errors import SettingError
from daam.results import settings as table
from daam.results.declaring import FOLDED, Option, check_settings, declare, rows_of
from daam.results.drawing_settings import DrawingSettings
from daam.results.settings import SETTINGS, TITLE, Settings, settings_of, value_from_infotext
from tests.fake_webui import FakeWebUI, fake_webui
from tools.settings_tables import argument_table, option_table

HELP = "How much the heat map glows."


@dataclass(frozen=True)
class WithGlow(Settings):
    """The table with a throw-away setting at its end. This is all that declares it."""

    glow: float = declare(
        "Glow (of the map)",
        0.5,
        HELP,
        infotext="Heatmap glow",
        place=("more", 3),
        maximum=2.0,
        is_axis=True,
        has_start_value=True,
        is_in_app=True,
        option=Option("--glow", "light around the map", "0..2"),
    )


WITH_GLOW = settings_of(WithGlow)
GLOW = WITH_GLOW[-1]


@pytest.fixture
def webui() -> Iterator[FakeWebUI]:
    with fake_webui() as fake:
        yield fake


def test_a_throw_away_setting_is_in_a_row_of_the_panel(webui: FakeWebUI) -> None:
    from daam.webui.panel import make_panel

    panel = make_panel("txt2img", WITH_GLOW)
    component = panel.components[-1]
    assert len(panel.components) == len(WITH_GLOW) and component.kind == "Slider"
    assert component.arguments == {
        "label": "Glow (of the map)", "value": 0.5, "minimum": 0, "maximum": 2.0, "step": 0.05,
        "elem_id": "txt2img_attention_heatmap_glow", "tooltip": HELP,
    }  # fmt: skip
    made = webui.gradio.made
    start = max(number for number, each in enumerate(made[: made.index(component)]) if each.kind == "Row")
    row = [each.arguments["elem_id"].removeprefix("txt2img_attention_heatmap_") for each in made[start + 1 : start + 4]]
    assert row == ["passes", "keep_steps", "glow"]


def test_a_throw_away_setting_goes_through_the_infotext(webui: FakeWebUI) -> None:
    from daam.webui.panel import make_panel

    settings = WithGlow.read([True], {"glow": "1.25"})
    infotext = settings.infotext()
    assert infotext == {TITLE: "True", "Heatmap glow": "1.25"}
    component, key = make_panel("txt2img", WITH_GLOW).fields[-1]
    assert key == "Heatmap glow" and key(infotext) == 1.25 == value_from_infotext(GLOW, infotext)


def test_a_throw_away_setting_is_the_last_argument_of_the_api(webui: FakeWebUI) -> None:
    from daam.webui.api import arguments_of, get_arguments

    listed = arguments_of(WITH_GLOW)
    assert listed[:-1] == get_arguments() and len(listed) == 22
    assert listed[-1] == {
        "position": 21, "name": "glow", "label": "Glow (of the map)", "default": 0.5, "choices": None,
        "range": [0, 2.0], "help": HELP,
    }  # fmt: skip
    assert WithGlow.read([setting.default for setting in SETTINGS] + [1.5]).glow == 1.5


def test_a_throw_away_setting_is_an_axis(webui: FakeWebUI) -> None:
    from daam.webui.axes import add_axes
    from daam.webui.run import begin_run

    add_axes(WITH_GLOW)
    axis = webui.axes[-1]
    assert (axis.label, axis.type, axis.choices) == (f"[{TITLE}] Glow", float, None)

    class Processing:
        """Takes what the axis sets."""

    p = Processing()
    axis.apply(p, 1.75, [])
    assert vars(p)["_attention_heatmap_overrides"] == {"enabled": True, "glow": 1.75}
    assert begin_run(p, [False]) is not None


def test_a_throw_away_setting_has_a_start_value_in_the_settings(webui: FakeWebUI) -> None:
    from daam.webui.options import add_options, default_of

    add_options(WITH_GLOW)
    assert webui.options["attention_heatmap_default_glow"] == (0.5, "Glow (of the map) at start")
    webui.host.option.side_effect = {"attention_heatmap_default_glow": 1.0}.get
    assert default_of(GLOW) == 1.0


def test_a_throw_away_setting_is_an_option_of_the_command_line() -> None:
    parser = make_parser(WITH_GLOW)
    assert "--glow 0..2" in parser.format_help() and "light around the map" in parser.format_help()
    assert read_settings(parser.parse_args(["a cat", "--glow", "1.5"]), WithGlow).glow == 1.5  # type: ignore[attr-defined]
    assert read_settings(parser.parse_args(["a cat"]), WithGlow).glow == 0.5  # type: ignore[attr-defined]
    with pytest.raises(SettingError, match="^glow: expected 0 to 2, got 3$"):
        read_settings(parser.parse_args(["a cat", "--glow", "3"]), WithGlow)


def test_a_throw_away_setting_is_on_the_page_of_daam_ui(webui: FakeWebUI) -> None:
    from daam.app.page import make_setting_inputs

    inputs = make_setting_inputs(WITH_GLOW)
    assert list(inputs) == ["terms", "probe", "alpha", "colormap", "scale", "blend", "reading", "glow"]
    assert inputs["glow"].kind == "Slider" and inputs["glow"].arguments == {
        "label": "Glow (of the map)", "value": 0.5, "minimum": 0, "maximum": 2.0, "step": 0.05, "info": HELP,
        "elem_id": "glow",
    }  # fmt: skip


def test_a_throw_away_setting_is_in_the_tables_of_the_docs() -> None:
    assert argument_table(WITH_GLOW)[-1] == f"| 21 | Glow (of the map) | 0 to 2 | 0.5 | {HELP} |"
    assert option_table(WITH_GLOW)[-1] == f"| `--glow` | 0 to 2 | 0.5 | {HELP} |"


def imported(tmp_path: Path, old: str, new: str) -> None:
    """Imports the table as it would be with one part changed."""
    source = Path(table.__file__).read_text("utf-8")
    assert source.count(old) == 1
    file = tmp_path / "changed_settings.py"
    file.write_text(source.replace(old, new), "utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[file.stem]


PLACE = '        place=("more", 2),\n'


@pytest.mark.parametrize(
    ("new", "error", "message"),
    [
        ("", TypeError, "missing 1 required keyword-only argument: 'place'"),
        ("        place=None,\n", AssertionError, "setting 'keep_steps': expected a row of the panel .* got None"),
        ('        place=("attic", 2),\n', AssertionError, "'keep_steps': expected a row of the panel .* got 'attic'"),
        ('        place=("more", 1),\n', AssertionError, "one setting for each place, several have .'more', 1."),
        ('        place=("switch", 2),\n', AssertionError, "the first, and no other, to be the panel's switch"),
    ],
)
def test_a_setting_without_a_place_of_its_own_is_an_error_at_import(
    tmp_path: Path, new: str, error: type[Exception], message: str
) -> None:
    imported(tmp_path, PLACE, PLACE)
    with pytest.raises(error, match=message):
        imported(tmp_path, PLACE, new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "alpha"}, "one setting for each name, several have alpha"),
        ({"infotext": "Heatmap alpha"}, "one setting for each infotext key, several have Heatmap alpha"),
        ({"option": Option("--opacity", "")}, "one setting for each flag, several have --opacity"),
        ({"look": "opacity"}, "one setting for each look, several have opacity"),
        ({"help": ""}, "'glow': expected label, help, infotext"),
        ({"look_names": {"a": "b"}}, "names for choices that it has not"),
        ({"place": ("more", 0)}, "expected a position in its row from 1, got 0"),
    ],
)
def test_other_mistakes_in_the_table_are_seen_too(change: dict[str, Any], message: str) -> None:
    check_settings(WITH_GLOW)
    with pytest.raises(AssertionError, match=message):
        check_settings([*SETTINGS, replace(GLOW, **change)])


def test_a_default_that_does_not_fit_is_seen() -> None:
    with pytest.raises(SettingError, match="expected 0 to 2, got 5"):
        check_settings([*SETTINGS, replace(GLOW, default=5.0)])


def test_the_rows_of_the_panel_are_as_ever() -> None:
    rows = {row: [setting.name for setting in placed] for row, placed in rows_of(SETTINGS).items()}
    assert list(rows.values()) == [
        ["enabled"],
        ["terms"],
        ["probe"],
        ["alpha"],
        ["colormap", "scale", "blend", "reading"],
        ["hide_caption", "with_negative", "skip_function_words"],
        ["layout", "image_scale"],
        ["use_grid", "hide_images", "no_saving"],
        ["per_layer", "layers_as_rows", "layers"],
        ["passes", "keep_steps"],
    ]
    assert [setting.name for row in FOLDED for setting in rows_of(SETTINGS)[row]][0] == "layout"


def test_axes_and_start_values_are_as_ever(webui: FakeWebUI) -> None:
    from daam.webui.axes import add_axes
    from daam.webui.options import add_options

    add_axes()
    labels = [axis.label.removeprefix("[Attention Heatmap] ") for axis in webui.axes]
    assert labels == ["Attention terms", "Heatmap blend alpha", "Colormap", "Scale", "Layers", "Map"]
    add_options()
    prefix = "attention_heatmap_default_"
    assert {name.removeprefix(prefix) for name in webui.options if name.startswith(prefix)} == {
        "alpha", "colormap", "scale", "image_scale", "use_grid", "layout", "blend", "reading",
        "skip_function_words",
    }  # fmt: skip


def test_the_command_line_without_options_draws_as_the_library_does() -> None:
    assert DrawingSettings.of(read_settings(make_parser().parse_args(["a cat"]))) == DrawingSettings()


def test_every_option_of_the_command_line_reaches_the_drawing() -> None:
    given = "--terms cat --opacity 0.2 --layout batch-rows --image-scale 16 --colormap jet --scale each --no-caption"
    given += " --negative-maps --per-layer --layers up_blocks.* --probe dog --blend even --all-words"
    settings = read_settings(make_parser().parse_args(["a cat", *given.split()]))
    assert settings.probe == "dog"
    assert DrawingSettings.of(settings) == DrawingSettings(
        terms="cat", opacity=0.2, layout="batch-rows", image_scale=16, colormap="jet", scale="each",
        show_captions=False, with_negative=True, per_layer=True, layers="up_blocks.*", blend="even",
        skip_function_words=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", 1.5), ("alpha", -1), ("colormap", "turbow"), ("scale", "log"), ("terms", "cat#0"), ("probe", "cat#0")],
)
def test_the_panel_the_command_line_and_the_library_give_one_error(name: str, value: Any) -> None:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    assert setting.option is not None
    with pytest.raises(ValueError) as of_panel:
        Settings.read([True], {name: value})
    with pytest.raises(ValueError) as of_command:
        read_settings(make_parser().parse_args(["a cat", f"{setting.option.flag}={value}"]))
    by_name = setting.option.flag.lstrip("-")
    assert str(of_command.value) == str(of_panel.value).replace(setting.label, by_name)
    if setting.look is not None:
        with pytest.raises(ValueError) as of_library:
            DrawingSettings(**{setting.look: value})
        assert str(of_library.value) == str(of_command.value)


def test_a_misspelt_choice_of_many_names_those_that_look_alike() -> None:
    with pytest.raises(SettingError, match=r"^Colormap: expected one of .*, …, got 'turbow'; try turbo, "):
        Settings.read([True], {"colormap": "turbow"})
    with pytest.raises(SettingError, match="expected one of shared, each, share, got 'shard'$"):
        Settings.read([True], {"scale": "shard"})
