"""Configurations of tiny checkpoints, one entry for each family. Plain data, read here and in the WebUI's Python.

Those of SDXL are for generative-models at the commit that the WebUI asks for, 45c443b.
"""

from __future__ import annotations

from typing import Any

CLIP = "tiny-clip"
"""Folder of the text encoder and the tokenizer, beside the checkpoints."""
CLIP_WIDTH = 32
OPEN_CLIP = "attention-heatmap-tiny"
OPEN_CLIP_WIDTH = 48
OPEN_CLIP_CONFIG = {
    "embed_dim": OPEN_CLIP_WIDTH,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": OPEN_CLIP_WIDTH, "heads": 4, "layers": 3},
}
IDS_WIDTH = 16
DROPPED_LATER = ("use_spatial_transformer", "legacy", "weighting_config")
"""Parameters that 45c443b of generative-models must have and its later commits do not take."""
Config = dict[str, Any]


def _autoencoder(package: str) -> Config:
    channels = {
        "double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
    }  # fmt: skip
    parameters = {"embed_dim": 4, "monitor": "val/rec_loss", "ddconfig": channels}
    parameters["lossconfig"] = {"target": "torch.nn.Identity"}
    return {"target": f"{package}.models.autoencoder.AutoencoderKL", "params": parameters}


def _unet(package: str, context: int, **changes: Any) -> Config:
    parameters: Config = {
        "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": 1,
        "attention_resolutions": [4, 2, 1], "channel_mult": [1, 2, 2, 2], "num_heads": 4, "transformer_depth": 1,
        "context_dim": context, "use_checkpoint": False,
    }  # fmt: skip
    parameters |= {"use_spatial_transformer": True, "legacy": False}
    if package == "ldm":
        parameters["image_size"] = 32
    target = f"{package}.modules.diffusionmodules.openaimodel.UNetModel"
    return {"target": target, "params": {**parameters, **changes}}


def _latent_diffusion(
    text_encoder: Config, unet: Config, *, target: str = "ldm.models.diffusion.ddpm.LatentDiffusion", **changes: Any
) -> Config:
    parameters = {
        "linear_start": 0.00085, "linear_end": 0.012, "num_timesteps_cond": 1, "log_every_t": 200, "timesteps": 1000,
        "first_stage_key": "jpg", "cond_stage_key": "txt", "image_size": 64, "channels": 4,
        "cond_stage_trainable": False, "conditioning_key": "crossattn", "monitor": "val/loss_simple_ema",
        "scale_factor": 0.18215, "use_ema": False, "unet_config": unet, "first_stage_config": _autoencoder("ldm"),
        "cond_stage_config": text_encoder,
    }  # fmt: skip
    return {"model": {"target": target, "params": {**parameters, **changes}}}


def _clip(package: str = "ldm", **changes: Any) -> Config:
    parameters = {"version": CLIP, "device": "cpu", **changes}
    return {"target": f"{package}.modules.encoders.modules.FrozenCLIPEmbedder", "params": parameters}


def _open_clip(package: str, **changes: Any) -> Config:
    name = "FrozenOpenCLIPEmbedder" if package == "ldm" else "FrozenOpenCLIPEmbedder2"
    parameters = {"arch": OPEN_CLIP, "version": None, "freeze": True, "layer": "penultimate", "device": "cpu"}
    return {"target": f"{package}.modules.encoders.modules.{name}", "params": {**parameters, **changes}}


def _sdxl(encoders: list[Config], ids: list[str], context: int) -> Config:
    numbers = {"target": "sgm.modules.encoders.modules.ConcatTimestepEmbedderND", "params": {"outdim": IDS_WIDTH}}
    embedders = [{"is_trainable": False, "input_key": "txt", **encoder} for encoder in encoders]
    embedders += [{"is_trainable": False, "input_key": name, **numbers} for name in ids]
    widths = sum(1 if name == "aesthetic_score" else 2 for name in ids) * IDS_WIDTH
    unet = _unet(
        "sgm", context, adm_in_channels=OPEN_CLIP_WIDTH + widths, num_classes="sequential",
        attention_resolutions=[4, 2], channel_mult=[1, 2, 2], transformer_depth=[1, 2, 3],
        use_linear_in_transformer=True, spatial_transformer_attn_type="softmax",
    )  # fmt: skip
    discretization = {"target": "sgm.modules.diffusionmodules.discretizer.LegacyDDPMDiscretization"}
    denoiser = {
        "target": "sgm.modules.diffusionmodules.denoiser.DiscreteDenoiser",
        "params": {
            "num_idx": 1000,
            "weighting_config": {"target": "sgm.modules.diffusionmodules.denoiser_weighting.EpsWeighting"},
            "scaling_config": {"target": "sgm.modules.diffusionmodules.denoiser_scaling.EpsScaling"},
            "discretization_config": discretization,
        },
    }
    parameters = {
        "scale_factor": 0.13025, "disable_first_stage_autocast": True, "denoiser_config": denoiser,
        "network_config": unet, "first_stage_config": _autoencoder("sgm"),
        "conditioner_config": {"target": "sgm.modules.GeneralConditioner", "params": {"emb_models": embedders}},
    }  # fmt: skip
    return {"model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": parameters}}


_G = _open_clip("sgm", always_return_pooled=True, legacy=False)
_SIZES = ["original_size_as_tuple", "crop_coords_top_left"]
FAMILIES: dict[str, Config] = {
    "sd1": _latent_diffusion(_clip(), _unet("ldm", CLIP_WIDTH)),
    "sd2": _latent_diffusion(
        _open_clip("ldm"),
        _unet("ldm", OPEN_CLIP_WIDTH, use_linear_in_transformer=True),
        parameterization="v",
    ),
    "sdxl": _sdxl(
        [_clip("sgm", layer="hidden", layer_idx=1), _G],
        [*_SIZES, "target_size_as_tuple"],
        CLIP_WIDTH + OPEN_CLIP_WIDTH,
    ),
    "refiner": _sdxl([_G], [*_SIZES, "aesthetic_score"], OPEN_CLIP_WIDTH),
    "inpainting": _latent_diffusion(
        _clip(),
        _unet("ldm", CLIP_WIDTH, in_channels=9),
        target="ldm.models.diffusion.ddpm.LatentInpaintDiffusion",
        conditioning_key="hybrid",
        finetune_keys=None,
    ),
    "edit": _latent_diffusion(
        _clip(),
        _unet("ldm", CLIP_WIDTH, in_channels=8),
        target="modules.models.diffusion.ddpm_edit.LatentDiffusion",
        first_stage_key="edited",
        cond_stage_key="edit",
        conditioning_key="hybrid",
    ),
    "deep": _latent_diffusion(_clip(), _unet("ldm", CLIP_WIDTH, num_res_blocks=2)),  # as many blocks as SD1 has
}


PARAMETERIZATIONS = {"epsilon": "eps", "v_prediction": "v"}
"""What diffusers and LDM call the same thing."""


def embedded_config(unet: Config, vae: Config, scheduler: Config) -> Config:
    """The embedded model's configuration in the layout of LDM.

    Args:
        unet, vae, scheduler: the configurations of the three, as diffusers writes them.
    """
    channels, latents = unet["block_out_channels"], vae["block_out_channels"]
    network = _unet(
        "ldm", unet["cross_attention_dim"], model_channels=channels[0], num_res_blocks=unet["layers_per_block"],
        channel_mult=[count // channels[0] for count in channels],
        num_heads=unet["attention_head_dim"],
        attention_resolutions=[2**i for i, kind in enumerate(unet["down_block_types"]) if "CrossAttn" in kind],
    )  # fmt: skip
    config = _latent_diffusion(
        _clip(), network, scale_factor=vae["scaling_factor"],
        parameterization=PARAMETERIZATIONS[scheduler["prediction_type"]],
    )  # fmt: skip
    parameters = config["model"]["params"]
    parameters["cond_stage_config"]["params"]["version"] = "embedded-clip"
    parameters["first_stage_config"]["params"]["ddconfig"].update(
        ch=latents[0], ch_mult=[count // latents[0] for count in latents], num_res_blocks=vae["layers_per_block"]
    )
    return config
