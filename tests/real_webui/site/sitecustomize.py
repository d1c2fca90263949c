"""On PYTHONPATH of the tested WebUI: lets torchvision be imported where its compiled operators do not load."""

try:
    import torch

    _library = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except (ImportError, RuntimeError):  # no torch, or operators that do load
    pass
