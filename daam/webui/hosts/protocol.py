"""What the extension asks of a WebUI. A host is one implementation of `Host`; its parts are what each file asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from PIL import Image
from torch import Tensor, nn

from daam.prompt import Emphasis, PromptTable
from daam.prompt.t5 import T5
from daam.prompt.terms import Term
from daam.tracing.image_trace import ImageTrace
from daam.tracing.latest import Budget
from daam.webui.hosts.rows import DenoiserCall

Passes = Literal["both", "first", "second"]


@dataclass(frozen=True)
class Wanted:
    """What is traced: of hires fix both passes or one; the negative prompt's words too; each step by itself.

    Attributes:
        terms: whose steps are kept; none stands for every word.
        refined: what refined maps may cost; None where none are wanted.
        with_outputs: maps in the attention's output space too, where the model has any.
        probe: comma-separated words that need not be in the prompt.
    """

    passes: Passes = "both"
    with_negative: bool = False
    keep_steps: bool = False
    terms: tuple[Term, ...] = ()
    refined: Budget | None = None
    with_outputs: bool = False
    probe: str = ""


class SamplingWatch(Protocol):
    """What is seen of one sampling. A fault of its own ends it, is logged once, and never reaches the generation."""

    def installed(self) -> AbstractContextManager[None]:
        """While it runs, the sampling is watched; the hooks that it sets go with it."""

    def image_trace(self, image: int) -> ImageTrace:
        """What was traced of one image of the batch, right after it.

        Raises:
            TraceError: the trace failed, or no step ran.
        """


class Place(NamedTuple):
    """Where a function lies: an object, and the name of its attribute."""

    owner: Any
    name: str


@dataclass(frozen=True)
class EncodedPrompts:
    """The prompts of one pass of one batch.

    Attributes:
        positive, negative: the texts that were encoded, one for each image.
        typed_positive, typed_negative: the same before the tags of extra networks were taken out.
        steps: of the first pass, as the sampler counts them.
        hires_steps: of the hires pass; None for the first pass.
    """

    positive: Sequence[str]
    negative: Sequence[str]
    typed_positive: Sequence[str]
    typed_negative: Sequence[str]
    steps: int
    hires_steps: int | None


class Sampling(Protocol):
    """How a generation samples, and who watches it."""

    def on_denoiser_call(self, see: Callable[[Any], None]) -> None:
        """Registers the callback that gets the host's parameters of each denoiser call, where it tells of any; once
        for each start."""

    def sampling_function(self, p: Any) -> Place:
        """The function that samples one batch of `p`: an own one of `p`, or one that is called with `p` first."""

    def own_watch(self, p: Any, wanted: Wanted) -> SamplingWatch | None:
        """Who watches the next sampling where the host tells of no denoiser calls; None where it does (`Denoiser`).

        Raises:
            TermError: words to probe cannot be read.
            TraceError: what samples is none that is known.
        """

    def replaced_generation(self, p: Any) -> str | None:
        """Why what is sampled will not be the picture; None where it will."""

    def has_hires_pass(self, p: Any) -> bool: ...

    def is_interrupted(self) -> bool:
        """Whether the user has interrupted or skipped what is being sampled."""

    def model_name(self, p: Any) -> str: ...


class Denoiser(Protocol):
    """Which model samples, what its calls are made of, and what was encoded for them: of a host that tells of them."""

    @property
    def latent_factor(self) -> int:
        """Pixels of the picture for one of the latent, in each direction."""

    def read_denoiser_call(self, params: Any, p: Any) -> DenoiserCall:
        """Args: params: what the callback got. p: the processing object that is thought to sample."""

    def owner_of(self, params: Any) -> Any:
        """The processing object that makes a denoiser call; None where the call does not say."""

    def current_unet(self) -> nn.Module:
        """The model that samples now; refiner and hires checkpoint change it.

        Raises:
            TraceError: it is not run as a torch module.
        """

    def in_hires_pass(self, p: Any) -> bool: ...

    def encoded_prompts(self, p: Any, *, hires: bool) -> EncodedPrompts:
        """Must be read while `p.sample` runs: before, they are not made yet; afterwards they are reset."""


class Texts(Protocol):
    """How a typed prompt is read, by the host's settings of now."""

    def own_table(self, prompt: str) -> PromptTable | None:
        """The token table of a typed prompt where it is not read as AUTOMATIC1111's WebUI does; None where it is.

        Raises:
            TraceError: how it is read is not known.
        """

    def tokenizer(self) -> Any:
        """The tokenizer of transformers that cleans texts in the host's way; None where it mends them with ftfy."""

    def emphasis_mode(self) -> Emphasis:
        """
        Raises:
            TraceError: it is one whose rules are not known here.
        """

    def embedding_vectors(self) -> dict[str, int]:
        """Number of vectors of each textual-inversion embedding that fits the checkpoint, in the order of loading."""

    def comma_padding(self) -> int:
        """How far back a comma may be for the text after it to move to the next chunk."""

    def uses_old_scheduling(self) -> bool: ...


class Encoders(Protocol):
    """How texts become tokens and contexts, by the host's settings of now: of a host with a `Denoiser`."""

    @property
    def encodes_while_sampling(self) -> bool:
        """Whether `encode_context` may be asked while a picture is sampled."""

    def text_encoders(self) -> list[Any]:
        """The loaded checkpoint's CLIP encoders, which cut prompts into chunks: one, or two for SDXL."""

    def chunk_tokens(self, encoder: Any, text: str) -> list[list[int]]:
        """The token ids of each chunk of 77 columns that one of them makes of a text."""

    def t5(self, *, negative: bool = False) -> T5 | None:
        """The encoder of a loaded checkpoint that makes no chunks: behind those of CLIP (SD3), or alone (Flux).

        None where there is none, or it is off, so that its columns are zero.
        """

    def prompt_readers(self) -> list[str]:
        """Names of extensions that read prompts in the host's place."""

    def encode_context(self, text: str) -> Tensor:
        """The context [column, channel] that the loaded checkpoint's own encoders make of a text."""

    def text_model(self) -> nn.Module | None:
        """The module of the loaded checkpoint that encodes texts; None where no module is called with a text."""

    def read_encoding(self, arguments: tuple[Any, ...], encoded: Any) -> list[tuple[str, Tensor]]:
        """The texts of one call of the text model, each with its context [column, channel]."""


class Gallery(Protocol):
    """What becomes of pictures."""

    def generated_pictures(self, p: Any, processed: Any) -> dict[int, int]:
        """Where in `processed.images` each generated picture stands, by its number in the generation."""

    def unshown_comments(self, p: Any) -> list[str]:
        """Lines of `p.comment` that the host itself does not put under the pictures."""

    def pasted_region(self, p: Any) -> tuple[int, int, int, int] | None:
        """(left, top, width, height) where inpainting "only masked" pastes the picture; None for whole pictures."""

    def grid_background(self) -> str: ...

    def shows_grids(self) -> bool: ...

    def grid_setting(self) -> str:
        """Where it is set whether grids are shown: "Settings → Gallery → Show grid in gallery"."""

    def label_image(self, image: Image.Image, infotext: str) -> None:
        """Puts the infotext where the browser's download finds it, if the host is to write it at all."""

    def saves_grids(self, p: Any) -> bool: ...

    def save_grid(self, p: Any, grid: Image.Image, infotext: str) -> None:
        """Saves into the grid directory under the host's settings, unless they say not to."""

    def saves_pictures(self, p: Any) -> bool: ...

    def save_beside(
        self, p: Any, image: Image.Image, picture: Image.Image, number: int, suffix: str, infotext: str
    ) -> None:
        """Saves an image under the name of the saved picture with a suffix, in the host's format."""

    def saved_file(self, picture: Image.Image) -> Path | None:
        """Where the host saved a picture; None when it did not."""

    def output_folders(self) -> list[Path]:
        """Where the host saves pictures, by its settings."""


class Page(Protocol):
    """The host's page, its settings and scripts, and generations that a script runs itself."""

    @property
    def always_visible(self) -> object:
        """What an always-visible script's `show` returns."""

    def option(self, name: str, default: Any) -> Any:
        """One of our own settings of the host's settings page."""

    def add_option(
        self,
        name: str,
        default: Any,
        label: str,
        section: tuple[str, str],
        component: Any = None,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        """Registers one of our settings.

        Args:
            section: its id and its title.
            component: gradio's class; None lets the host choose by the default.
            limits: what the component is made with.
        """

    def panel(self, value: bool, label: str, elem_id: str) -> Any:
        """A box with a switch in its head: a context for the components in it, and itself the switch's component."""

    def axes_module(self) -> Any | None:
        """The module of X/Y/Z plot, with `axis_options` and `AxisOption`; None where the host has none."""

    def api_users(self) -> str:
        """ "name:password" of those who may use the API, comma-separated; empty where everybody may."""

    def selected_script(self, p: Any) -> str | None:
        """Title of the script chosen in the Script dropdown; None when there is none."""

    def values_of_script(self, p: Any, title: str) -> Sequence[Any]:
        """What the controls of an always-visible script say; empty where there is none of that title."""

    def hand_on(self, p: Any, key: str, lines: Sequence[str]) -> None:
        """Puts lines into what a script makes of `p` itself, for callers of the API; none: takes them out."""

    def begin_series(self, p: Any, generations: int) -> None:
        """Before a script generates several times with `p`: one seed for all, one picture each, one progress bar."""

    def tell_job(self, text: str) -> None:
        """Says under the progress bar what is generated now."""

    def is_interrupted(self) -> bool: ...

    def generate(self, p: Any) -> Any:
        """Runs `p`; what the host calls `Processed`."""

    def result_of_series(self, p: Any, images: Sequence[Image.Image], infotexts: Sequence[str], grids: int = 0) -> Any:
        """What a script returns: images, of which the first are grids, each with its infotext."""


class CommonHost(Sampling, Texts, Gallery, Page, Protocol):
    """What every WebUI gives."""


class Host(CommonHost, Denoiser, Encoders, Protocol):
    """A WebUI that tells of each call of its denoiser. Others have a watch and tables of their own instead."""
