"""The tree of all settings of a run, with every fixed default.

`None` means "open": `preparation/defaults.py` and `data_defaults.py` choose a value from the data and give the reason.
A `Config` may hold open settings; a `ResolvedConfig` (`config/resolved.py`) holds none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from danlu.config.values import (
    MAX_COUNT,
    MAX_SIDE,
    Activation,
    AugmentPreset,
    Channels,
    Count,
    Counts,
    Flip,
    Fraction,
    Language,
    LoggerName,
    LossName,
    Milestones,
    NotNegative,
    Numbers,
    OptimizerForm,
    OptimizerName,
    OwnName,
    Port,
    PoseLossName,
    Positive,
    Precision,
    PretrainingMethod,
    ScheduleName,
    Seed,
    Side,
    SplitSize,
    Text,
    TokenizerName,
    Workers,
    increasing,
    parse_names,
)
from danlu.task_spec import TASKS, TaskName


def option(default: Any, text: str) -> Any:
    """A field with its default and its one-line description, shown by --help and in the report."""
    return field(default=default, metadata={"text": text})


def section(kind: type) -> Any:
    """A field that is a section of the tree; its description is the docstring of its class."""
    return field(default_factory=kind, metadata={"text": (kind.__doc__ or "").strip()})


class Strict:
    """Base of all sections: unknown keys and numbers that are not finite are refused."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


_TASKS = " | ".join(f"{name} ({spec.reason.render('en')})" for name, spec in TASKS.items())


@dataclass(frozen=True)
class DataConfig(Strict):
    """Data to read, and how to split and load it."""

    path: str = option("", "a file, a folder, or the name of a known dataset")
    target: Text | None = option(None, "column to predict (csv)")
    format: Text | None = option(None, "data format, if none or several are recognised (`danlu formats` lists them)")
    val: SplitSize | None = option(
        None, "validation set: a fraction, a number of samples or a path; by default the split that the data come with"
    )
    test: SplitSize | None = option(None, "test set: a fraction, a number of samples or a path")
    split: Text = option(
        "stratified", "stratified | random | time:COLUMN | group:COLUMN; such a column is then not an input"
    )
    folds: Annotated[int, Field(ge=2, le=MAX_COUNT)] | None = option(
        None, "number of folds for k-fold cross-validation"
    )
    fold: Annotated[int, Field(ge=0)] | None = option(None, "train on this fold only (set by --folds)")
    refit: Literal["all", "best", "ensemble"] | None = option(
        None, "model to keep after the folds: all (retrained on all data) | best | ensemble"
    )
    limit: Count | None = option(None, "max number of training samples, chosen at random by the seed")
    seed: Seed | None = option(None, "seed of the split and of --data.limit; --seed by default")
    on_bad: Literal["stop", "skip"] = option(
        "stop", "when more than 5 % of the files are bad or a class is empty: stop | skip"
    )
    follow_links: bool = option(False, "follow links, and paths in annotations, that lead out of the data folder")
    size: Side | Literal["keep"] | None = option(
        None, "side of the network's input images, in pixels; keep (vit): each image at its own size, see data.tokens"
    )
    tokens: Count | None = option(
        None, "vit: images keep their aspect; each is resized to at most this many patches, see data.keep_size"
    )
    keep_size: bool = option(False, "with data.tokens: images of fewer patches keep their size (as of --size keep)")
    frames: Count | None = option(None, "clips: number of frames per clip, evenly spaced")
    colour: Channels | None = option(None, "channels of the images: grey, rgb, or all as stored")
    ignore: Annotated[int, Field(ge=-1, le=65_535)] | None = option(
        None, "semantic: mask value of pixels without a class, -1 if there is none; by default 255"
    )
    window: Annotated[Numbers, Field(min_length=2, max_length=2), AfterValidator(increasing)] | None = option(
        None, "images of more than 8 bits: values LOW,HIGH that become 0 and 255"
    )
    standardise: bool = option(
        True, "images: use (x - mean) / std of the training set; false leaves pixel values in [0, 1]"
    )
    standardise_target: bool | None = option(None, "regression: train on (y - mean) / std of the training targets")
    memory: bool | None = option(None, "keep the whole dataset as one uint8 tensor on the device")
    cache: Text | None = option(None, "folder for resized images, reused by later runs")
    workers: Workers | None = option(None, "number of processes that decode images")
    last: Literal["keep", "drop", "carry"] = option(
        "keep", "incomplete last batch: keep | drop | carry into the next epoch"
    )
    balance: bool = option(False, "sample all classes equally often")
    transform: OwnName | None = option(None, "transform of your own for samples or batches: FILE.py:NAME")

    @property
    def side(self) -> int | None:
        """`size` as a number of pixels; None while it is open."""
        return None if self.size == "keep" else self.size


@dataclass(frozen=True)
class ModelConfig(Strict):
    """The network and its architecture options."""

    name: Text | None = option(None, "a danlu network, timm/NAME, torchvision/NAME, or your own: FILE.py:NAME")
    width: Counts | None = option(None, "hidden units per layer, such as 256,128 (mlp)")
    activation: Activation | None = option(None, "activation function")
    norm: Text | None = option(None, "normalisation layer")
    init: Text | None = option(None, "weight initialisation")
    dropout: Fraction | None = option(None, "probability of dropping a hidden unit in training")
    pool: Literal["max", "average"] | None = option(None, "pooling (lenet)")
    aux: bool = option(False, "auxiliary classifiers (googlenet, inception-v3)")
    final_relu: bool = option(False, "ReLU on the logits, as first published (nin)")
    stem: Literal["imagenet", "3x3"] | None = option(None, "first layers (resnet18 ... resnet152)")
    stride_in: Literal["3x3", "1x1"] | None = option(
        None, "convolution of a bottleneck block in which the stride is (resnet50 ...)"
    )
    drop_path: Fraction | None = option(
        None, "stochastic depth: probability of skipping the last residual block (resnet, vit)"
    )
    patch: Count | None = option(None, "patch size in pixels (vit)")
    pretrained: bool = option(False, "start timm/ and torchvision/ networks from their published weights")
    sparse: Literal["2:4"] | None = option(None, "keep the two largest of every four weights along the input channels")
    sparse_both: bool = option(False, "sparse: along the output channels as well, so that the transpose is 2:4 too")
    sparse_refine: NotNegative = option(0.0, "sparse: weight decay of the pruned weights (SR-STE); its paper uses 2e-4")


@dataclass(frozen=True)
class TransferConfig(Strict):
    """Trained weights to start from, and the layers to freeze."""

    init: Text | None = option(
        None, "weights to start from: none, efficientnet-lite0, timm/NAME (published), a run or a .safetensors file"
    )
    freeze: Annotated[tuple[str, ...] | None, BeforeValidator(parse_names)] = option(
        None, "layers to freeze, such as stem,stage1; all-but-head; or none"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = option(
        1.0, "learning rate of each stage as a fraction of that of the next stage"
    )
    freeze_norm: bool | None = option(None, "keep the running statistics of batch norm from the trained weights")
    head_first: bool | None = option(
        None, "classification: fit the last layer to the features of the other layers before training starts"
    )

    @property
    def start(self) -> str | None:
        """The weights to start from, None for random initialisation."""
        return None if self.init == "none" else self.init


@dataclass(frozen=True)
class PretrainConfig(Strict):
    """Pretraining on images without labels (`danlu pretrain`)."""

    method: PretrainingMethod | None = option(
        None, "masked images: mae, simmim, beit; two views of each image: simclr, simsiam, byol"
    )
    mask: Annotated[float, Field(gt=0, lt=1)] | None = option(
        None, "fraction of each image that is masked (mae 0.75, simmim 0.6, beit 0.4)"
    )
    unit: Count | None = option(None, "side of a masked square in pixels (simmim)")
    decoder_width: Count = option(96, "width of the decoder (mae)")
    decoder_depth: Count = option(2, "transformer blocks of the decoder (mae)")
    norm_patches: bool = option(True, "predict pixels normalised by mean and std of their patch (mae)")
    tokenizer: TokenizerName = option(
        "vq", "tokenizer of patches, fitted to the training images: vq (an autoencoder) or kmeans (beit)"
    )
    codes: Annotated[int, Field(ge=2, le=65_536)] = option(256, "number of visual tokens (beit)")
    hidden: Count = option(512, "units of the projection and prediction heads (simclr, simsiam, byol)")
    projection: Count = option(128, "size of the embedding (simclr, simsiam, byol)")
    temperature: Positive = option(0.5, "temperature that divides the similarities (simclr)")
    momentum: Fraction = option(0.99, "decay of the moving average of weights that is the target network (byol)")


@dataclass(frozen=True)
class DetectConfig(Strict):
    """Architecture options of detectors, and the filtering of their detections."""

    backbone: Text | None = option(None, "backbone of the detector: a danlu network or timm/NAME")
    neck: Literal["fpn", "none"] | None = option(None, "feature pyramid (faster-rcnn, mask-rcnn)")
    width: Count | None = option(
        None, "channels of the neck and head (yolo, ssd, retinanet, fpn) or transformer (detr)"
    )
    queries: Count | None = option(None, "max number of objects per image that the network can find (detr)")
    hidden: Count | None = option(None, "units of the dense layers of the region head (R-CNN family)")
    depth: Count | None = option(None, "convolutional layers in each branch of the head (retinanet)")
    levels: Count | None = option(None, "levels of the feature pyramid (retinanet); resolutions (unet)")
    anchor: Positive | None = option(None, "side of the smallest anchors in pixels (faster-rcnn, mask-rcnn, retinanet)")
    search: Literal["auto", "selective", "colours"] | None = option(
        None, "region proposals: selective (search), colours (areas of one colour) or auto (rcnn, fast-rcnn)"
    )
    proposals: Count | None = option(None, "max number of proposals per image (R-CNN family)")
    candidates: Count | None = option(
        None, "top-scoring anchors per level kept before non-maximum suppression (faster-rcnn, mask-rcnn)"
    )
    sampled: Count | None = option(None, "anchors sampled per image for the loss (faster-rcnn, mask-rcnn)")
    regions: Count | None = option(None, "proposals sampled per image for the loss (R-CNN family)")
    positive_fraction: Annotated[float, Field(gt=0, lt=1)] | None = option(
        None, "max fraction of foreground among the sampled proposals (R-CNN family)"
    )
    crop: Annotated[int, Field(ge=16, le=MAX_SIDE)] | None = option(
        None, "side to which a region is resized, in pixels (rcnn)"
    )
    context: Annotated[float, Field(ge=0, lt=0.5)] | None = option(
        None, "margin around a region on each side, as a fraction of the resized region (rcnn)"
    )
    mask_width: Count | None = option(None, "channels of the convolutional layers in the mask head (mask-rcnn)")
    mask_layers: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = option(
        None, "number of convolutional layers in the mask head (mask-rcnn)"
    )
    fold_pixels: Count | None = option(
        None, "block size in pixels of the space-to-depth step before the first layer (unet)"
    )
    fine_width: Annotated[int, Field(ge=0)] | None = option(
        None, "channels of two convolutions at full resolution after a folded network (unet)"
    )
    fit: Literal["letterbox", "stretch"] = option(
        "letterbox", "resizing of images that are not square: letterbox | stretch"
    )
    score: Fraction = option(0.3, "predict: min score of a detection")
    overlap: Annotated[float, Field(gt=0, le=1)] | None = option(
        None, "IoU threshold of non-maximum suppression, per class"
    )
    camera: Annotated[Numbers, Field(min_length=4, max_length=4)] | None = option(
        None, "predict poses: intrinsics FX,FY,CX,CY in pixels of the images; by default the training set's"
    )
    pose_loss: PoseLossName | None = option(
        None,
        "rotation loss of poses: ploss (distance to the given pose) | sloss (to the nearest points, symmetric objects) "
        "| symmetries (minimum over the symmetry group)",
    )
    most: Count = option(100, "max number of detections per image")


@dataclass(frozen=True)
class OptimConfig(Strict):
    """The update rule and its parameters."""

    name: OptimizerName | OwnName | None = option(
        None,
        "update rule; muon: momentum with orthogonalised updates for the matrices of hidden layers, adamw for the "
        "rest; or your own: FILE.py:NAME",
    )
    lr: Positive | None = option(None, "learning rate")
    form: OptimizerForm = option(
        "torch",
        "formula of adagrad and rmsprop: torch (as in PyTorch) | notes (adagrad: root of the mean of the squared "
        "gradients instead of their sum; rmsprop: average initialised with the first squared gradient instead of 0)",
    )
    momentum: Fraction = option(0.9, "momentum, nesterov, muon: momentum coefficient")
    alpha: Fraction = option(0.99, "rmsprop: decay of the average squared gradient")
    beta1: Fraction = option(0.9, "adam, adamw: decay of the average gradient")
    beta2: Fraction = option(0.999, "adam, adamw: decay of the average squared gradient")
    eps: Positive = option(1e-8, "added to the root of the average squared gradient")
    weight_decay: NotNegative | None = option(None, "weight decay: lambda of lambda/2 |w|^2")
    l1: NotNegative = option(0.0, "L1 penalty: mu of mu |w|_1; each step reduces |w| by lr mu, to no less than 0")
    max_norm: Positive | None = option(None, "max norm of the weights of each output unit, restored after each step")
    decay_all: bool = option(False, "apply weight decay and l1 to biases and normalisation layers too")
    clip_norm: Positive | None = option(None, "max global norm of the gradient; larger gradients are scaled down")
    clip_value: Positive | None = option(None, "max absolute value of each gradient entry; larger ones are clamped")
    accumulate: Count = option(1, "number of batches whose gradients are summed for one step")
    ema: Fraction = option(0.0, "decay of a moving average of weights and buffers, used for evaluation; 0 turns it off")


@dataclass(frozen=True)
class ScheduleConfig(Strict):
    """The learning rate schedule."""

    name: ScheduleName | OwnName | None = option(None, "learning rate schedule, or your own: FILE.py:NAME")
    warmup: NotNegative = option(0.0, "epochs of linear warm-up")
    every: Positive = option(30.0, "step: epochs between cuts")
    milestones: Milestones = option((), "step: epochs of the cuts, instead of schedule.every")
    factor: Annotated[float, Field(gt=0, lt=1)] | None = option(
        None, "step and plateau: factor of a cut; exponential: factor per epoch"
    )
    patience: Count = option(10, "plateau: epochs without improvement before a cut")
    floor: Fraction = option(0.0, "cosine and one-cycle: final learning rate as a fraction of the peak")
    rise: Annotated[float, Field(gt=0, lt=1)] = option(0.3, "one-cycle: fraction of the training spent rising")


@dataclass(frozen=True)
class LossConfig(Strict):
    """The loss function."""

    name: LossName | OwnName | None = option(None, "loss, or your own: FILE.py:NAME; detectors have fixed losses")
    smoothing: Fraction = option(0.0, "cross-entropy: label smoothing")
    rubbish: Positive | None = option(
        None, "cross-entropy: j > 0 adds a class of constant logit -j that is never the target (LeNet-5)"
    )
    class_weights: Literal["balanced", "root"] | Numbers | None = option(
        None, "balanced | root (square root of the balanced weights) | one weight per class"
    )
    gamma: NotNegative = option(2.0, "focal: exponent that reduces the weight of easy samples")
    margin: Positive = option(1.0, "margin: margin by which the logit of the correct class must exceed the others")
    delta: Positive = option(1.0, "huber: |error| at which the loss changes from quadratic to linear")


@dataclass(frozen=True)
class AugmentConfig(Strict):
    """Augmentation of training images. The preset fills the settings that are None."""

    preset: AugmentPreset | None = option(None, "random changes of the training images: none | light | strong")
    flip: Flip | None = option(None, "mirror at random: none | lr | ud | both")
    pad: Annotated[int, Field(ge=0, le=MAX_SIDE)] | None = option(
        None, "padding in pixels before a random crop of the old size"
    )
    area: Annotated[Numbers, Field(min_length=2, max_length=2)] | None = option(
        None, "random resized crop: range of the area as a fraction, such as 0.08,1"
    )
    ratio: Annotated[Numbers, Field(min_length=2, max_length=2)] | None = option(
        None, "random resized crop: range of width/height"
    )
    brightness: Fraction | None = option(None, "b: random factor from [1-b, 1+b]")
    contrast: Fraction | None = option(None, "c: random factor from [1-c, 1+c]")
    saturation: Fraction | None = option(None, "s: random factor from [1-s, 1+s]")
    hue: Annotated[float, Field(ge=0, le=0.5)] | None = option(None, "max shift of the hue, as a fraction of a turn")
    rotate: Annotated[float, Field(ge=0, le=180)] | None = option(None, "max rotation in degrees")
    scale: Fraction | None = option(None, "s: random zoom factor from [1-s, 1+s]")
    shear: Annotated[float, Field(ge=0, le=60)] | None = option(None, "max shear in degrees")
    translate: Fraction | None = option(None, "max shift, as a fraction of the side")
    noise: NotNegative | None = option(None, "standard deviation of noise added to the normalised values; 0: none")
    erase: Annotated[float, Field(ge=0, le=1)] | None = option(None, "probability of erasing a random rectangle")
    mixup: NotNegative | None = option(None, "alpha of mixup's Beta(alpha, alpha); 0 turns it off")
    cutmix: NotNegative | None = option(None, "alpha of cutmix's Beta(alpha, alpha); 0 turns it off")
    zoom_out: Annotated[float, Field(ge=1)] | None = option(
        None, "detection: shrink half of the images by up to this factor, on a grey canvas; 1 turns it off"
    )
    iou_crop: Annotated[float, Field(ge=0, le=1)] | None = option(
        None, "detection: probability of a random crop (see area, ratio) with a minimum IoU with an object"
    )
    mosaic: Annotated[float, Field(ge=0, le=1)] | None = option(
        None, "detection: probability of combining four images into one"
    )
    multi_scale: Fraction | None = option(
        None, "detection: m: image size of each batch from [1-m, 1+m] times --size, a multiple of 32"
    )


@dataclass(frozen=True)
class RegulariseConfig(Strict):
    """Dropout schedule and early stopping."""

    dropout_when: Literal["always", "early", "late"] = option(
        "always", "epochs with dropout: always | early (underfitting) | late (overfitting)"
    )
    dropout_until: Annotated[float, Field(gt=0, lt=1)] = option(
        0.3, "fraction of the training at which early dropout ends or late dropout begins"
    )
    patience: Count | None = option(None, "stop after this many epochs without improvement")


@dataclass(frozen=True)
class DoctorConfig(Strict):
    """The doctor, which watches the training and reports what is wrong."""

    budget: Fraction = option(
        0.03, "max fraction of the first 30 s to spend, later a third of it; 0 turns the doctor off"
    )
    language: Language = option(
        "en",
        "language of the doctor, the report and the terminal: en | zh; by default that of DANLU_LANG or the locale",
    )


@dataclass(frozen=True)
class Config(Strict):
    """Settings of one training run; None if a setting is open."""

    data: DataConfig = section(DataConfig)
    task: TaskName | None = option(None, f"what to learn, by default as the data are labelled: {_TASKS}")
    model: ModelConfig = section(ModelConfig)
    detect: DetectConfig = section(DetectConfig)
    transfer: TransferConfig = section(TransferConfig)
    pretrain: PretrainConfig = section(PretrainConfig)
    epochs: Count | None = option(None, "passes over the training set")
    batch_size: Count | None = option(None, "samples per batch, over all devices")
    optim: OptimConfig = section(OptimConfig)
    schedule: ScheduleConfig = section(ScheduleConfig)
    loss: LossConfig = section(LossConfig)
    augment: AugmentConfig = section(AugmentConfig)
    regularise: RegulariseConfig = section(RegulariseConfig)
    doctor: DoctorConfig = section(DoctorConfig)
    metrics: Annotated[tuple[OwnName, ...] | None, BeforeValidator(parse_names)] = option(
        None, "metrics of your own besides the task's: FILE.py:NAME,..."
    )
    callbacks: Annotated[tuple[OwnName, ...] | None, BeforeValidator(parse_names)] = option(
        None, "callbacks of your own: FILE.py:NAME,..."
    )
    log: Annotated[tuple[LoggerName, ...] | None, BeforeValidator(parse_names)] = option(
        None, "other loggers to write to: tensorboard, mlflow, wandb, trackio"
    )
    tags: Annotated[tuple[Text, ...] | None, BeforeValidator(parse_names)] = option(
        None, "labels of the run: NAME,...; `danlu runs` shows them, --where tags=NAME selects by one"
    )
    live: Port | bool | None = option(None, "serve a page that follows the training, on this port [8765]")
    tta: bool = option(
        False, "test-time augmentation: average predictions over the mirrored image in evaluate and predict"
    )
    seed: Seed = option(0, "seed of shuffling, augmentation, initialisation and dropout")
    device: Text = option("auto", "auto | cpu | cuda | cuda:0 | mps")
    devices: Count = option(1, "number of processes (cpu) or GPUs that share each batch")
    precision: Precision | None = option(None, "number format of the forward and backward pass")
    channels_last: bool | None = option(None, "channels-last memory format for images")
    compile: bool = option(False, "torch.compile the network")
    deterministic: bool = option(False, "refuse operations whose result varies from run to run (CUDA)")
    out: Text | None = option(None, "run folder; the next free runs/N by default")
    keep_state: bool = option(False, "keep state.pt of the finished run, to train it for more epochs")
    save_every: Annotated[float, Field(gt=0)] = option(5.0, "minutes between checkpoints within an epoch")
    save_path: Count | None = option(
        None, "number of epochs whose weights are kept, for the optimiser's path in `danlu diagnose RUN --landscape`"
    )
    log_every: Count = option(50, "steps between lines of metrics.jsonl")
