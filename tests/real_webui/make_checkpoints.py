"""Makes the tiny checkpoints; run by the tests in the WebUI's own Python: `make_checkpoints.py WEBUI_DIR FOLDER`.

Random weights with a fixed seed, in the layout of each family, so that a 512x512 picture takes seconds on a CPU.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import embedded_checkpoint
import torch
from families import CLIP_WIDTH, DROPPED_LATER, FAMILIES, OPEN_CLIP, OPEN_CLIP_CONFIG, embedded_config
from random_weights import randomised

HERE = Path(__file__).parent


def main(webui: Path, folder: Path) -> None:
    for path in ("stable-diffusion-stability-ai", "generative-models", "k-diffusion", "BLIP"):
        sys.path.insert(0, str(webui / "repositories" / path))
    sys.path.insert(0, str(webui))
    sys.argv = [sys.argv[0], "--skip-torch-cuda-test", "--use-cpu", "all"]
    checkpoints = folder / "models" / "Stable-diffusion"
    checkpoints.mkdir(parents=True, exist_ok=True)
    register_open_clip()
    make_clip(folder / "tiny-clip", CLIP_WIDTH)
    copy_clip(folder / "embedded-clip", embedded_checkpoint)
    save(embedded_checkpoint.state(), checkpoints / "embedded.safetensors")
    write_config(embedded_config(*embedded_checkpoint.configs()), checkpoints / "embedded.yaml", folder)
    for number, (name, config) in enumerate(FAMILIES.items()):
        torch.manual_seed(number)
        written = write_config(fitted(config), checkpoints / f"{name}.yaml", folder)
        save(randomised(build(written["model"]).state_dict()), checkpoints / f"{name}.safetensors")
    make_extras(folder)


def fitted(config: Any) -> Any:
    """The configuration without the parameters that the generative-models at hand has dropped."""
    if isinstance(config, list):
        return [fitted(part) for part in config]
    if not isinstance(config, dict):
        return config
    found = {name: fitted(part) for name, part in config.items()}
    if "params" in found and found["target"].startswith("sgm."):
        known = inspect.signature(_class(found["target"])).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
            found["params"] = {
                name: part for name, part in found["params"].items() if name in known or name not in DROPPED_LATER
            }
    return found


def _class(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def build(config: dict[str, Any]) -> torch.nn.Module:
    module, _, name = config["target"].rpartition(".")
    if module.startswith("modules."):  # importing the WebUI's own module would start half of it
        module, name = "ldm.models.diffusion.ddpm", "LatentDiffusion"
        config = {**config, "params": {**config["params"], "cond_stage_key": "txt"}}
    return _class(f"{module}.{name}")(**_plain(config["params"]))


def _plain(value: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.create(value)


def save(state: dict[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    kept = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    save_file({name: tensor for name, tensor in kept.items() if tensor.is_floating_point()}, path)


def write_config(config: dict[str, Any], path: Path, folder: Path) -> dict[str, Any]:
    """JSON is YAML; the text encoder's folder becomes a full path. Returns what was written."""
    text = json.dumps(config)
    for name in ("tiny-clip", "embedded-clip"):
        text = text.replace(f'"{name}"', json.dumps(str(folder / name)))
    path.write_text(text, "utf-8")
    return json.loads(text)


def register_open_clip() -> None:
    import open_clip.factory

    open_clip.factory._MODEL_CONFIGS[OPEN_CLIP] = copy.deepcopy(OPEN_CLIP_CONFIG)


def make_clip(folder: Path, width: int) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(1000)
    settings = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=49407, projection_dim=width,
    )  # fmt: skip
    model = CLIPTextModel(settings)
    model.load_state_dict(randomised(model.state_dict()))
    model.save_pretrained(folder)
    copy_tokenizer(folder)


def copy_clip(folder: Path, embedded: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(embedded.WEIGHTS / "text_encoder" / "config.json", folder)
    save(embedded.text_encoder(), folder / "model.safetensors")
    copy_tokenizer(folder)


def copy_tokenizer(folder: Path) -> None:
    for file in (HERE.parents[1] / "daam" / "demo_model" / "weights" / "tokenizer").iterdir():
        shutil.copy(file, folder / file.name)


def make_extras(folder: Path) -> None:
    """A textual inversion of three vectors, a LoRA and a hypernetwork for the family sd1."""
    from safetensors.torch import save_file

    torch.manual_seed(2000)
    for part in ("embeddings", "models/Lora", "models/hypernetworks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": 0.3 * torch.randn(3, CLIP_WIDTH)}, folder / "embeddings" / "tinyword.safetensors")
    lora = {}
    for projection, inputs in (("to_q", 32), ("to_k", CLIP_WIDTH), ("to_v", CLIP_WIDTH)):
        name = f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_{projection}"
        lora[f"{name}.lora_down.weight"] = torch.randn(2, inputs) / inputs**0.5
        lora[f"{name}.lora_up.weight"] = torch.randn(32, 2)
        lora[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(lora, folder / "models" / "Lora" / "tinylora.safetensors")
    layers = [
        {
            "linear.0.weight": torch.randn(2 * CLIP_WIDTH, CLIP_WIDTH) * 0.2,
            "linear.0.bias": torch.zeros(2 * CLIP_WIDTH),
            "linear.1.weight": torch.randn(CLIP_WIDTH, 2 * CLIP_WIDTH) * 0.2,
            "linear.1.bias": torch.zeros(CLIP_WIDTH),
        }
        for _ in range(2)
    ]
    network = {
        CLIP_WIDTH: tuple(layers), "step": 1, "name": "tinynetwork", "layer_structure": [1, 2, 1],
        "activation_func": "linear", "is_layer_norm": False, "weight_initialization": "Normal", "use_dropout": False,
        "sd_checkpoint": None, "sd_checkpoint_name": None, "activate_output": False, "last_layer_dropout": False,
        "dropout_structure": None, "optional_info": None, "optimizer_name": None,
    }  # fmt: skip
    torch.save(network, folder / "models" / "hypernetworks" / "tinynetwork.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
