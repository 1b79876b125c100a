"""Names of the ledger: unit, place, time of writing and meaning of each.

Instruments write these names and rules read them; they do not depend on each other. A name is FAMILY.QUANTITY.

`when` says how a name is written:
    once    a fact, learnt at the first training steps (or at the end), written with the step at which it was learnt
    step    a series over training steps, all or a sample. A step is one update of the weights, counted from 1
    epoch   a series over epochs, counted from 1: the `step` of such a record is the number of the epoch
    event   written when it happens, with the training step

`where` says what the `where` of a record holds:
    ""          the whole run
    parameter   a parameter's name, as in model.named_parameters()
    layer       a leaf module's name, as in model.named_modules()
    phase       "train" or "val"
    group       "optimizer0.group1": optimisers in the order in which they were seen
"""

from __future__ import annotations

from typing import NamedTuple


class Name(NamedTuple):
    """Meaning of a name of the ledger. when, where: see above. unit: "" for pure numbers. meaning: one line."""

    when: str
    where: str
    unit: str
    meaning: str


# Former names, which ledgers of earlier versions have.
FORMER = {
    "optimizer.leftover_share": "optimizer.leftover_ratio",
    "input.leaked_share": "input.leaked_fraction",
    "gradient.zero_share": "gradient.zero_fraction",
    "activation.zero_share": "activation.zero_fraction",
    "nonfinite.share": "nonfinite.fraction",
    "time.share": "time.fraction",
    "label.surest_correct": "label.top_third_accuracy",
}
NAMES: dict[str, Name] = {
    # The run as a whole.
    "run.device": Name("once", "", "", "cpu, cuda, ... of the model's first parameter"),
    "run.precision": Name("once", "", "", "float32, or autocast-float16, autocast-bfloat16; else the model's own type"),
    "run.layer_types": Name("once", "", "", "number types of the layers' outputs, a list: float32, float16, ..."),
    "run.unseen": Name(
        "once", "what", "", "what the doctor cannot see ('loss', 'layers', ...), with the reason as a sentence"
    ),
    "run.finished": Name("once", "", "steps", "written at the end: training steps done"),
    "run.lent_weights": Name(
        "once", "", "", "calls with other weights than the model's own (torch.func): 1 always the same, 2 they change"
    ),
    "run.lent_sum": Name("event", "", "", "sum of the absolute values of such a parameter"),
    "run.weights_moved": Name("once", "", "0/1", "at the end a parameter is another than at the start"),
    "run.forwards": Name("epoch", "phase", "passes", "passes through the model in this phase, since the start"),
    "run.backwards": Name("epoch", "", "passes", "passes that a backward pass went through, since the start"),
    "run.optimizer_steps": Name("epoch", "", "steps", "calls of optimizer.step, of all optimisers, since the start"),
    "run.steps": Name("epoch", "", "steps", "training steps done when the epoch ended"),
    "run.seconds": Name("epoch", "", "s", "seconds since the start when the epoch ended"),
    "run.epoch_by": Name(
        "once", "", "", "how ends of epochs are known: 'epoch()', 'validation', or 'none' (one epoch: the run)"
    ),
    # Parameters and optimisers.
    "parameter.order": Name("once", "parameter", "", "position in model.named_parameters(), from 0"),
    "parameter.size": Name("once", "parameter", "elements", "number of elements"),
    "parameter.shape": Name("once", "parameter", "", "shape, a list"),
    "parameter.role": Name("once", "parameter", "", "weight, bias, norm_weight, norm_bias, embedding or other"),
    "parameter.layer": Name("once", "parameter", "", "name of the module that owns it"),
    "parameter.trainable": Name("once", "parameter", "0/1", "requires_grad at the first step"),
    "parameter.initial": Name(
        "once", "parameter", "0/1", "1 if a frozen weight is as a random initialisation left it, and never moved"
    ),
    "parameter.reached": Name("once", "parameter", "0/1", "1 if any of the first steps gave it a gradient (not None)"),
    "parameter.gradient_zero": Name(
        "once", "parameter", "0/1", "1 if its gradient was exactly zero in all of the first steps"
    ),
    "parameter.held": Name("once", "parameter", "", "number of the optimisers seen that hold it (0: none)"),
    "parameter.weight_decay": Name("once", "parameter", "", "weight decay of its group"),
    "parameter.std": Name("once", "parameter", "", "standard deviation of its elements before the first update"),
    "parameter.mean": Name("once", "parameter", "", "mean of its elements before the first update"),
    "parameter.constant": Name("once", "parameter", "0/1", "1 if all its elements were equal before the first update"),
    "parameter.changed": Name(
        "step", "parameter", "0/1", "did the optimiser step change it (a sample of its elements)"
    ),
    "optimizer.kind": Name("once", "optimizer", "", "class of the optimiser; where: optimizer0, optimizer1, ..."),
    "optimizer.foreign": Name("once", "optimizer", "tensors", "tensors it holds that are not the model's parameters"),
    "optimizer.idle": Name(
        "once", "", "", "tensors and elements of another model that it holds and that never had a gradient, a list"
    ),
    "optimizer.others": Name(
        "event", "", "optimisers", "optimisers seen to step that hold no parameter of the model, beside its own"
    ),
    "optimizer.lr": Name(
        "step", "group", "", "learning rate used by the step; step 0 is that at the start; written when it changes"
    ),
    "optimizer.momentum": Name("step", "group", "", "momentum, or beta1 of Adam; written when it changes"),
    "optimizer.epsilon": Name("step", "group", "", "number that Adam adds to its denominator; written when it changes"),
    "optimizer.weight_decay": Name("step", "group", "", "weight decay; written when it changes"),
    "optimizer.decoupled": Name("once", "optimizer", "0/1", "1 where decay is decoupled from the gradient (AdamW)"),
    "optimizer.scheduled": Name(
        "once", "optimizer", "0/1", "1 where a torch scheduler is attached (initial_lr in a group)"
    ),
    "optimizer.waits_for": Name(
        "epoch", "scheduler", "", "mode (min or max) and best value so far of a ReduceLROnPlateau, a list"
    ),
    "optimizer.early_schedule": Name(
        "event", "group", "", "a torch scheduler changed the learning rate before the first step: its value before that"
    ),
    "optimizer.turns": Name(
        "once", "", "steps", "written at the end: measured steps by another optimiser than the measured step before"
    ),
    "optimizer.alternates": Name("once", "", "0/1", "1: a step of an optimiser whose parameters a later one holds too"),
    "optimizer.replaced": Name(
        "event", "", "tensors", "a new optimiser stepped that holds this many tensors of an earlier one"
    ),
    "optimizer.state_lost": Name(
        "event", "optimizer", "", "an optimiser that had state (momentum) came to its step without it"
    ),
    "optimizer.leftover": Name(
        "step",
        "",
        "",
        "norm of .grad of the optimiser's parameters when the first backward after a step begins (0: zeroed)",
    ),
    "optimizer.leftover_ratio": Name(
        "step", "", "", "that norm over the norm of the gradient the last step used, 1: nothing was zeroed"
    ),
    "optimizer.closure_leftover": Name(
        "step", "", "0/1", "1: the closure of a step was evaluated again, and its gradients were added to those before"
    ),
    "optimizer.micro_batches": Name("step", "", "", "backward passes that went into the step (gradient accumulation)"),
    "optimizer.discarded": Name(
        "step",
        "",
        "",
        "fraction of the micro-batches of a step, of other samples and the same weights, whose gradients were cleared "
        "before it",
    ),
    # The model: leaf modules in the order of their first call.
    "layer.order": Name("once", "layer", "", "position in the order of first calls, from 0"),
    "layer.kind": Name("once", "layer", "", "class name of the module"),
    "layer.calls": Name("once", "layer", "", "calls in one pass"),
    "layer.recurrent": Name("once", "layer", "", "an nn.RNN, LSTM or GRU: its class and the number of time steps"),
    "layer.input_shape": Name("once", "layer", "", "shape of its first input, a list"),
    "layer.output_shape": Name("once", "layer", "", "shape of its output, a list"),
    "layer.follows": Name("once", "layer", "", "leaf module whose output is its input unchanged, '' if none is"),
    "layer.groups": Name("once", "layer", "", "groups of a convolution"),
    "layer.bias": Name("once", "layer", "0/1", "has a bias"),
    "layer.dropout": Name("once", "layer", "", "probability of a dropout module"),
    "layer.linear_after": Name(
        "once",
        "layer",
        "",
        "a linear or convolution layer whose input comes from this other such layer with only "
        "linear operations (none, reshape, dropout, average pooling, batch norm) in between: its name",
    ),
    "layer.last": Name("once", "layer", "0/1", "a linear layer that no other linear layer builds on: an output"),
    "layer.linear_via_norm": Name("once", "layer", "0/1", "beside linear_after: a batch norm lies in between"),
    "layer.linear_layers": Name("once", "", "", "number of linear and convolution layers"),
    "layer.linear_links": Name(
        "once", "", "", "number of these that take their input from another of them, directly or not"
    ),
    "layer.bias_before_norm": Name(
        "once",
        "layer",
        "",
        "a layer with a bias whose output goes straight into this normalisation, which removes the bias",
    ),
    "layer.activation": Name(
        "once",
        "layer",
        "",
        "activation measured at this layer: relu, sigmoid, tanh, ... (layer: the activation "
        "module; or, for functional calls, '>NAME': what flows into layer NAME)",
    ),
    "layer.modes": Name(
        "once", "layer", "0/1", "1 if this dropout or norm layer is in training mode in training passes"
    ),
    "norm.kind": Name("once", "layer", "", "class of the normalisation"),
    "norm.values": Name(
        "once", "layer", "values", "values each statistic of a batch norm is taken over in training (batch x positions)"
    ),
    "norm.batch": Name("once", "layer", "samples", "samples per batch at this batch norm"),
    "norm.momentum": Name("once", "layer", "", "momentum of the running statistics (-1: cumulative)"),
    "norm.eps": Name("once", "layer", "", "epsilon"),
    "norm.tracks": Name("once", "layer", "0/1", "keeps running statistics"),
    # Pretraining on images without labels.
    "pretrain.method": Name("once", "", "", "name of the method of pretraining on images without labels"),
    "pretrain.views": Name("once", "", "0/1", "the method compares two views of each image"),
    "pretrain.collapse_lowers_loss": Name("once", "", "0/1", "its loss also falls when all embeddings become equal"),
    "pretrain.loss": Name("epoch", "phase", "", "mean loss of the method"),
    "pretrain.baseline": Name("epoch", "phase", "", "mean loss of the best answer that ignores the image"),
    "pretrain.std": Name("epoch", "phase", "", "spread of the normalised embeddings, 1 for random directions"),
    "pretrain.rank": Name("epoch", "phase", "", "effective rank of the features of the backbone"),
    "pretrain.constant": Name("epoch", "phase", "fraction", "patches whose pixels are all alike"),
    # Outputs, targets, loss.
    "loss.kind": Name(
        "once", "", "", "cross_entropy, nll, bce, bce_logits, mse, half_mse, l1, kl, hinge, ... or the callable's name"
    ),
    "loss.seen_by": Name("once", "", "", "module, function, observe, output (the model returns its loss) or backward"),
    "loss.graph": Name("once", "", "", "grad_fn of the loss: NllLossBackward0, MseLossBackward0, ..."),
    "loss.terms": Name(
        "once",
        "",
        "",
        "terms with a gradient in the sum that backward() starts from, a loss of torch among them",
    ),
    "loss.penalised": Name(
        "once", "", "", "fraction of the weights that a penalty on their size, a term of the loss, is computed from"
    ),
    "loss.attached": Name("once", "", "0/1", "1 if the loss carries a gradient (0: detached)"),
    "loss.target_range": Name(
        "once", "", "", "least and largest target of a squared or absolute error written by hand, a list"
    ),
    "loss.other_targets": Name(
        "once", "", "", "mean and deviation of the targets of a second loss, a squared or absolute error, a list"
    ),
    "loss.class_weights": Name("once", "", "", "weight of each class in the loss, a list; only their ratios matter"),
    "loss.option": Name(
        "once",
        "option",
        "",
        "option of the loss that is not at its default: ignore_index, reduction, label_smoothing, pos_weight (a list)",
    ),
    "loss.chance": Name(
        "step",
        "",
        "",
        "loss of the best constant answer, measured by calling the loss; only where options or kind of the loss "
        "leave no formula for it",
    ),
    "loss.log_of_negative": Name(
        "once",
        "",
        "0/1",
        "a loss written by hand takes the logarithm of the outputs, and some of them are not positive",
    ),
    "loss.log_sum": Name(
        "once", "", "", "largest |logsumexp| over the classes of what is given to CTCLoss: 0 for log probabilities"
    ),
    "loss.overlap_of_scores": Name(
        "once", "", "0/1", "a loss written by hand is a ratio of sums of the outputs (Dice); 1: some lie outside 0 .. 1"
    ),
    "loss.log_of_complement": Name("once", "", "0/1", "a loss written by hand takes the logarithm of 1 - outputs"),
    "loss.picks_all": Name(
        "once",
        "",
        "samples",
        "a loss written by hand picks the outputs of all labels for each sample: outputs[:, labels]",
    ),
    "loss.binary_labels": Name(
        "once", "", "", "smallest and largest label in a binary cross entropy written by hand, if there are two"
    ),
    "loss.signed_margin": Name(
        "once",
        "",
        "0/1",
        "two labels multiply the outputs inside a hinge or a logarithm of a loss written by hand; 1: of both signs",
    ),
    "loss.cosine_sign": Name(
        "once", "", "", "a loss written by hand is a mean of cosines of the outputs times a number: its sign, 1 or -1"
    ),
    "loss.constant_derivative": Name(
        "step",
        "",
        "0/1",
        "the outputs are differentiated with respect to the inputs before the loss; 1: what the loss makes of it has "
        "no gradient",
    ),
    "loss.overlap_sign": Name(
        "once",
        "",
        "",
        "a loss written by hand is an overlap of the outputs with labels (Dice) times a number: its sign, 1 or -1",
    ),
    "loss.of_others": Name(
        "step", "", "", "losses computed without gradients from something else than the model's last outputs"
    ),
    "loss.initial": Name("once", "", "", "loss of the first training pass"),
    "output.shape": Name("once", "", "", "shape of what is given to the loss, a list"),
    "output.count": Name("once", "", "", "number of outputs: size of dimension 1 (1 where there is none)"),
    "output.rows": Name("once", "", "", "rows of outputs for each sample: more than 1 where places are classified"),
    "output.direct": Name(
        "once", "", "0/1", "what is given to the loss is the model's first output, at most rearranged"
    ),
    "output.activation": Name(
        "once", "", "", "what is applied to the outputs last: none, softmax, log_softmax, sigmoid, relu, tanh"
    ),
    "output.activation_before": Name(
        "once", "", "", "activation right before a final softmax or log_softmax: none, relu, softmax, ..."
    ),
    "output.scaled": Name("once", "", "0/1", "the last activation is scaled or shifted before it reaches the loss"),
    "output.dropped": Name("once", "", "", "fraction of the outputs that dropout after the output layer sets to 0"),
    "output.softmax_axis": Name("once", "", "", "axis of a final softmax or log_softmax"),
    "output.softmax_shape": Name("once", "", "", "shape of its result, a list"),
    "output.std": Name("step", "", "", "standard deviation of the outputs"),
    "output.mean": Name("step", "", "", "mean of the outputs"),
    "output.sample_std": Name(
        "step", "", "", "standard deviation over samples, averaged over outputs: 0 if all samples get the same"
    ),
    "target.shape": Name("once", "", "", "shape of the targets, a list"),
    "target.dtype": Name("once", "", "", "torch.int64, torch.float32, ..."),
    "target.frequencies": Name(
        "epoch", "phase", "", "fraction of the samples with each label, where a sample may have several labels"
    ),
    "target.kind": Name("once", "", "", "classes (integers), one_hot, binary (only 0 and 1), or values"),
    "target.distinct": Name("once", "", "", "number of different target values in the first batch"),
    "target.signed": Name("once", "", "0/1", "labels of a loss that expects -1 and 1: some are negative"),
    "target.whole": Name("once", "", "0/1", "1 if all targets of the first batch are integers"),
    "loss.counted_targets": Name(
        "step",
        "",
        "",
        "of a loss without reduction: fraction of targets whose term gets a gradient, min and max of these, and of all",
    ),
    "target.min": Name("epoch", "phase", "", "smallest target"),
    "target.max": Name("epoch", "phase", "", "largest target"),
    "target.mean": Name("epoch", "phase", "", "mean of the targets (regression)"),
    "target.std": Name("epoch", "phase", "", "standard deviation of the targets (regression)"),
    "target.outside": Name(
        "event", "", "samples", "labels outside 0..K-1 in this step's batch (the loss's ignore_index left out)"
    ),
    "target.broadcast": Name(
        "event",
        "",
        "",
        "outputs and targets of a regression loss have different shapes that broadcast: 'N,1 against N'",
    ),
    "batch.size": Name("step", "", "samples", "samples in the batches of the step; written when it changes"),
    "loss.step": Name("step", "", "", "training loss of the step (mean over its micro-batches)"),
    "loss.mean": Name("epoch", "phase", "", "mean loss, weighted by samples"),
    "loss.batch_mean": Name(
        "epoch", "phase", "", "mean loss over batches, each counted alike (wrong when the last is smaller)"
    ),
    "loss.total": Name(
        "step", "", "", "value that backward() starts from, where a loss of torch is one of several terms of it"
    ),
    "loss.scale": Name(
        "step",
        "",
        "",
        "gradient given to the loss when backward begins: the scale of a GradScaler, or 1/k of accumulation",
    ),
    "accuracy.step": Name("step", "", "", "training accuracy of the step"),
    "accuracy.mean": Name("epoch", "phase", "", "accuracy over the epoch's samples"),
    "accuracy.batch_mean": Name("epoch", "phase", "", "mean of the batches' accuracies, each counted alike"),
    "accuracy.compared": Name(
        "epoch", "phase", "", "fraction of the predictions that equalled what the loop compared them with"
    ),
    "accuracy.at_half": Name(
        "epoch", "phase", "predictions", "outputs beyond 0 .. 1 whose predictions, taken at 0.5, differ from those at 0"
    ),
    "accuracy.across": Name(
        "epoch", "phase", "predictions", "predictions that are the argmax of the outputs over the samples of the batch"
    ),
    "accuracy.of_scores": Name(
        "epoch", "phase", "predictions", "outputs that are no integers, compared with labels, which are"
    ),
    "epoch.compared": Name("epoch", "phase", "samples", "predictions that the loop compared with labels"),
    "accuracy.broadcast": Name("once", "", "", "shapes that broadcast where the loop compared predictions with labels"),
    "accuracy.last_batch": Name("epoch", "phase", "", "accuracy of the epoch's last batch alone"),
    "accuracy.padded": Name("epoch", "phase", "", "correct predictions over (size of the first batch x batches)"),
    "loss.last_batch": Name("epoch", "phase", "", "loss of the epoch's last batch alone"),
    "epoch.samples": Name("epoch", "phase", "samples", "samples whose loss or outputs were seen"),
    "epoch.batches": Name("epoch", "phase", "batches", "batches whose loss or outputs were seen"),
    "epoch.measured": Name(
        "epoch", "phase", "batches", "batches whose accuracy was measured (the budget may skip some)"
    ),
    "epoch.last_batch_size": Name("epoch", "phase", "samples", "size of the last batch"),
    "explained.mean": Name(
        "epoch", "phase", "", "R2 of a regression with squared targets seen: 1 - mse / variance of the targets"
    ),
    "class.name": Name("once", "class", "", "name of the class with this number, if the trainer passed names"),
    "input.as_numbers": Name(
        "once", "", "", "integers that the first layer, a linear one, is given as numbers: mean and deviation, a list"
    ),
    "input.columns": Name("once", "", "", "names of the columns of the inputs, a list, if the trainer passed them"),
    "input.copies": Name(
        "once",
        "",
        "",
        "training samples with equal inputs, a list of 'name = name' (up to 8), of danlu's trainings",
    ),
    "class.predicted": Name(
        "epoch", "phase", "fractions", "fraction of predictions per class, a list (up to 1000 classes)"
    ),
    "class.actual": Name("epoch", "phase", "fractions", "fraction of labels per class, a list"),
    "class.correct": Name(
        "epoch", "phase", "fractions", "fraction of each class that is predicted right, a list (-1: class not seen)"
    ),
    "class.taken_for": Name(
        "epoch",
        "phase",
        "",
        "for each label, a list: the class predicted most, its fraction, the samples (validation, up to 40 classes)",
    ),
    "class.entropy": Name("epoch", "phase", "nats", "mean entropy of the predicted distributions"),
    "label.contradicted": Name(
        "epoch", "phase", "", "fraction of samples whose label has probability < 0.1 while another class has > 0.8"
    ),
    "label.suspects": Name(
        "epoch",
        "phase",
        "",
        "names of such samples, a list of 'name (label: prediction?)' (up to 8), of danlu",
    ),
    "label.confident": Name(
        "epoch", "phase", "", "fraction of samples where the predicted class has probability > 0.8"
    ),
    "label.confident_correct": Name("epoch", "phase", "", "accuracy among these confident predictions"),
    "label.top_third_accuracy": Name(
        "epoch", "phase", "", "accuracy of the top-scoring third of each batch's predictions"
    ),
    "label.kinship": Name(
        "step", "", "", "similarity of the labels of nearest inputs in a batch: 0 is chance level, 1 always equal"
    ),
    "label.kinship_chance": Name("step", "", "", "standard deviation of that where labels are unrelated to inputs"),
    "batch.label_distance": Name(
        "step", "", "", "total variation between the labels of the batch and of all batches so far"
    ),
    "batch.label_distance_expected": Name("step", "", "", "the same expected of a shuffled batch of this size"),
    "user.metric": Name("epoch", "metric", "", "metric that the loop reported by doctor.epoch(name=value)"),
    # Targets per pixel, in the batch and arranged otherwise: own, mirrored, upside_down, transposed.
    "dense.agreement": Name(
        "step", "arrangement", "-1 to 1", "correlation of outputs and targets, without their means over the batch"
    ),
    "dense.fit": Name(
        "step", "arrangement", "-1 to 1", "the same of a linear fit of the targets by the neighbourhood of each pixel"
    ),
    "dense.symmetry": Name("step", "arrangement", "-1 to 1", "the same of the targets and the targets so arranged"),
    # Pairs of embeddings in the loss, and models that are trained against each other.
    "pair.pulled": Name("step", "", "", "mean distance of the pairs that the loss pulls together"),
    "pair.pushed": Name("step", "", "", "mean distance of the pairs that the loss pushes apart"),
    "pair.reversed": Name(
        "step", "", "standard errors", "how much farther apart the pairs are that the loss pulls together"
    ),
    "adversary.same_direction": Name(
        "step",
        "",
        "0/1",
        "the loss of the generator moves the output of this model for generated samples the same way as its own loss",
    ),
    "policy.reward_correlation": Name(
        "step",
        "",
        "-1 to 1",
        "correlation of the gradients of the log-probabilities of actions with the rewards of these actions: negative "
        "where a step makes rewarded actions more probable",
    ),
    # Leaves of the autograd graph that are no parameters of the model.
    "leaf.unregistered": Name(
        "once", "name in code", "elements", "a tensor in the graph of the loss that no optimiser holds: its size"
    ),
    "leaf.created": Name("once", "", "elements", "size of the parameters that are created anew in each pass"),
    # Behaviour on a few samples of one batch in eval mode, after the first steps.
    "probe.random": Name(
        "once", "", "", "difference of two runs on the same samples, relative to the deviation of the outputs"
    ),
    "probe.state": Name(
        "once",
        "",
        "",
        "difference of two runs of the same samples that drew no random number, relative to their deviation",
    ),
    "probe.dropout": Name("once", "", "", "largest probability of a dropout that is active in eval mode"),
    "probe.mixing": Name(
        "once", "", "", "difference between a sample run alone and within its batch, relative as above"
    ),
    "probe.mixing_layer": Name("once", "layer", "", "class of the first layer whose output differs so"),
    "probe.future": Name(
        "once", "", "", "change of the predictions of next items when these items are replaced, relative as above"
    ),
    "probe.reconstruction": Name(
        "once",
        "",
        "",
        "of a model that samples: differences between its reconstructions over those between their inputs, at the end",
    ),
    "probe.padded": Name("once", "", "", "fraction of the items of the input sequences that is padding at their end"),
    "probe.padding": Name(
        "once",
        "",
        "",
        "change of the outputs of a sequence without its padding, relative to the differences between sequences",
    ),
    "probe.order": Name(
        "once",
        "",
        "",
        "of a model with attention: change of the outputs when the items of each sequence are reordered, relative "
        "to the deviation between sequences",
    ),
    "probe.copies": Name("once", "", "", "the same, where the targets are the items of the inputs themselves"),
    "probe.used_inputs": Name("once", "", "", "fraction of the input positions that an output depends on"),
    "probe.cut_output": Name(
        "once",
        "",
        "0/1",
        "of several outputs the first has other values for other inputs, but no gradient with respect to them",
    ),
    "probe.unused_inputs": Name(
        "once", "axis", "", "fraction of the positions along an axis of the inputs that no output depends on"
    ),
    "probe.faint_inputs": Name(
        "once", "axis", "", "fraction of the positions along an axis whose gradient is below 1e-6 of the largest"
    ),
    "probe.content_unused": Name(
        "once",
        "",
        "",
        "fraction of the items of padded sequences that no output depends on, beside padding on which one does",
    ),
    "probe.wrong_backward": Name(
        "once",
        "function",
        "",
        "a torch.autograd.Function: relative difference between the slope by its backward and that of its forward",
    ),
    # Inputs (sampled batches).
    "input.dtype": Name("once", "", "", "type of the first input"),
    "input.row_order": Name(
        "once",
        "",
        "",
        "colour images: difference of rows that lie as many apart as there are channels, over that of adjacent rows",
    ),
    "input.shape": Name("once", "", "", "shape of the first input, a list"),
    "input.mean": Name("epoch", "phase", "", "mean of all input values"),
    "input.std": Name("epoch", "phase", "", "standard deviation of all input values"),
    "input.min": Name("epoch", "phase", "", "smallest input value"),
    "input.max": Name("epoch", "phase", "", "largest input value"),
    "input.feature_means": Name(
        "epoch", "phase", "", "mean per channel (images) or column (tables), a list of at most 256"
    ),
    "input.feature_stds": Name("epoch", "phase", "", "standard deviation per channel or column, a list of at most 256"),
    "input.samples": Name("epoch", "phase", "samples", "samples these are taken over"),
    "input.measured": Name("epoch", "phase", "samples", "samples that the mean and the standard deviation rest on"),
    "input.constant": Name("epoch", "phase", "samples", "samples whose values are all equal (blank)"),
    "input.equal_by_chance": Name(
        "epoch", "phase", "", "probability that two samples are equal, for independent values (0 for many values)"
    ),
    "input.constant_by_chance": Name(
        "epoch", "phase", "", "probability that a sample is blank, for independent values (0 for many values)"
    ),
    "input.nonfinite": Name("epoch", "phase", "samples", "samples with NaN or inf"),
    "input.val_redrawn": Name(
        "epoch",
        "phase",
        "",
        "fraction of validation's first samples whose inputs changed since the epoch before, under "
        "the same labels in the same order",
    ),
    "input.holds_target": Name(
        "step", "", "0/1", "1: a column of the inputs holds the target in every sample of the batch"
    ),
    "loader.samples": Name("once", "", "samples", "size of the data set of the training DataLoader"),
    "loader.weights": Name("once", "", "samples", "weights of its sampler, for the samples from the first on"),
    "loader.replacement": Name("once", "", "0/1", "1: the training DataLoader samples with replacement"),
    "input.hashed": Name("epoch", "phase", "samples", "distinct samples seen so far, by a hash of their values"),
    "input.tokens": Name("once", "", "0/1", "1 if they are integers, also as floats that an embedding looks up"),
    "input.class_samples": Name("epoch", "", "samples", "distinct training samples so far, by class, a list"),
    "input.before_repeat": Name("epoch", "", "samples", "training samples read before the first one that came again"),
    "input.repeated": Name(
        "epoch", "phase", "", "fraction of the epoch's samples that occurred before in the same epoch and phase"
    ),
    "input.held_out": Name(
        "epoch", "", "samples", "distinct evaluated samples so far, without those of passes over the whole training set"
    ),
    "input.held_out_passes": Name(
        "epoch",
        "",
        "",
        "where an evaluation goes over the training set, too: number of the first and the last pass over other samples",
    ),
    "input.only_trained": Name(
        "epoch", "", "0/1", "1 if evaluations hold the samples of the training set and no others"
    ),
    "input.leaked": Name("epoch", "", "samples", "validation samples that also occurred in training, so far"),
    "input.leaked_fraction": Name("epoch", "", "", "their fraction among the held-out samples"),
    "input.label_changes": Name("epoch", "", "", "fraction of the training samples that came again with another label"),
    "input.label_conflicts": Name(
        "epoch", "", "samples", "identical training samples that came with different labels, so far"
    ),
    # Gradients, weights, updates (sampled steps).
    "gradient.norm": Name(
        "step", "parameter or ''", "", "norm of the gradient that the optimiser used; '' is that of all parameters"
    ),
    "gradient.raw_norm": Name("step", "", "", "norm of all gradients as backward left them, before any clipping"),
    "gradient.clip_ratio": Name("step", "", "", "norm used / norm as backward left it: 1 is unclipped"),
    "gradient.max": Name("step", "", "", "largest absolute element of the gradient"),
    "gradient.zero_fraction": Name(
        "step", "", "", "fraction of exact zeros in the gradient (in a sample of its elements)"
    ),
    "gradient.nonfinite": Name("step", "", "parameters", "parameters whose gradient is NaN or inf"),
    "gradient.noise_scale": Name(
        "step",
        "way",
        "samples",
        "simple noise scale (McCandlish et al. 2018, eq. 2.9); noisy: take the ratio of means. At '' from two "
        "successive gradients: too high where a step changes the gradient itself, which counts as noise; at "
        "'micro-batches' from those of a single step: unbiased",
    ),
    "gradient.signal": Name("step", "way", "", "estimate of |G|^2, from the same"),
    "gradient.noise": Name("step", "way", "", "trace of the covariance of a single sample's gradient, from the same"),
    "gradient.cosine": Name("step", "", "", "cosine between two successive gradients"),
    "weight.norm": Name("step", "parameter or ''", "", "norm of the weights after the step"),
    "update.norm": Name(
        "step", "parameter or ''", "", "norm of the change the step made (from a sample of the elements)"
    ),
    "update.lost": Name(
        "step", "", "", "fraction of the 16-bit weights with a gradient that the step left as they were"
    ),
    "update.ratio": Name("step", "parameter or ''", "", "update norm / weight norm"),
    "update.cosine": Name("step", "", "", "cosine between two successive updates"),
    "update.gradient_cosine": Name("step", "", "", "cosine between the update and minus the gradient"),
    "decay.ratio": Name("step", "parameter or ''", "", "norm of weight_decay x weight / norm of the gradient"),
    "layer.gradient": Name(
        "step", "layer", "", "root mean square of the loss's gradient with respect to the layer's output, per sample"
    ),
    "layer.gradient_growth": Name(
        "step", "layer", "", "of a layer called four times a pass or more: gradient at its first call / at its last"
    ),
    # Activations (sampled steps, a sample of the elements). Where: a layer, or '>layer' as in layer.activation.
    "activation.mean": Name("step", "layer", "", "mean of the layer's output"),
    "activation.std": Name("step", "layer", "", "standard deviation of the layer's output"),
    "activation.zero_fraction": Name("step", "layer", "", "fraction of exact zeros"),
    "activation.saturated": Name(
        "step", "layer", "", "fraction of values within 0.02 of an end of the range of sigmoid or tanh"
    ),
    "activation.saturated_units": Name(
        "step", "layer", "", "fraction of units saturated at the same end for more than 95 % of the samples"
    ),
    "activation.dead_units": Name(
        "step", "layer", "", "fraction of units that were zero for every sample measured in the last steps measured"
    ),
    "activation.dead_samples": Name("step", "layer", "samples", "samples that dead_units rests on"),
    "activation.spread": Name(
        "step", "layer", "", "variance over samples / mean square: 0 if the output is the same for every sample"
    ),
    "activation.rank": Name(
        "step", "layer", "", "effective rank over samples, centred: tr(G)^2 / tr(G^2), at most samples - 1"
    ),
    "activation.samples": Name("step", "layer", "samples", "samples measured in this step"),
    # Train mode against eval mode (last training batch, replayed before validation).
    "mode.loss_train": Name("epoch", "", "", "loss of the last training batch in train mode"),
    "mode.loss_eval": Name("epoch", "", "", "loss of the same batch, same weights, in eval mode"),
    "mode.accuracy_train": Name("epoch", "", "", "accuracy of the same batch in train mode"),
    "mode.accuracy_eval": Name("epoch", "", "", "accuracy of the same batch in eval mode"),
    "norm.mean_shift": Name("epoch", "layer", "", "mean |running mean - batch mean| / batch standard deviation"),
    "norm.var_shift": Name("epoch", "layer", "", "mean |log(running variance / batch variance)|"),
    "norm.running_nonfinite": Name("epoch", "layer", "0/1", "running statistics hold NaN or inf"),
    # The loop.
    "loop.train_in_eval": Name(
        "epoch",
        "",
        "",
        "fraction of training passes made in eval mode (only where the model has dropout or norm layers)",
    ),
    "loop.val_in_train": Name(
        "epoch", "", "", "fraction of validation passes made in train mode (only where it matters, as above)"
    ),
    "loop.val_with_grad": Name("epoch", "", "", "fraction of validation passes made with gradients recorded"),
    "loop.steps_in_modes": Name(
        "once", "", "steps", "steps after passes in eval mode and in train mode, and changes from one to the other"
    ),
    "loop.mode_matters": Name(
        "once", "", "0/1", "the model has a layer that behaves differently in train and eval mode"
    ),
    "loop.part_in_eval": Name(
        "once", "", "layers", "norm and dropout layers in eval mode while the model as a whole trains"
    ),
    "graph.softmax_of_one": Name(
        "once", "", "", "numbers of axes of which each softmax in the graph of the loss is over an axis of length 1"
    ),
    "graph.alive": Name(
        "epoch", "phase", "graphs", "graphs of earlier losses or outputs that are still alive when the epoch ends"
    ),
    "graph.passes": Name("epoch", "phase", "graphs", "passes of the epoch that these are counted among"),
    "memory.process": Name(
        "epoch", "", "bytes", "memory the process uses: resident, without pages of files and what its heap holds free"
    ),
    "memory.device": Name("epoch", "", "bytes", "memory allocated by torch on the device"),
    "memory.process_step": Name("step", "", "bytes", "the same, at sampled steps"),
    # Non-finite values.
    "nonfinite.step": Name("event", "", "", "the loss, or a gradient, of this step is NaN or inf; value: nan or inf"),
    "nonfinite.source": Name(
        "event", "", "", "where it arose first: input, target, weight, activation, loss, gradient or unknown"
    ),
    "nonfinite.layer": Name("event", "", "", "first layer (or parameter) concerned"),
    "nonfinite.samples": Name(
        "event", "", "", "positions of the samples concerned within the batch, a list of at most 16"
    ),
    "nonfinite.reason": Name(
        "event", "", "", "log of zero, overflow, 0/0, bad input, weights not finite, ... as a short phrase"
    ),
    "nonfinite.input_max": Name("event", "", "", "largest absolute input of the layer concerned"),
    "nonfinite.fraction": Name("event", "", "", "fraction of the values that are not finite"),
    # Time.
    "time.step": Name(
        "step", "", "s", "from the end of one optimiser step to the end of the next, the doctor's own time left out"
    ),
    "time.wait": Name(
        "step",
        "",
        "s",
        "from the end of the optimiser step to the next training pass (loading data, and what the loop does)",
    ),
    "time.doctor": Name("once", "instrument", "s", "time each instrument took, at the end"),
    "time.fraction": Name("once", "", "", "fraction of the time that the doctor used, by its own measurement"),
    # Objects to be found in images: written by the trainer of a detector before the first step.
    "object.count": Name("once", "", "boxes", "boxes that the annotations hold, bad ones among them"),
    "object.faults": Name(
        "once",
        "fault",
        "boxes",
        "boxes with this fault: reversed, empty, outside the image, not finite, unknown class or other (left out); "
        "clipped, repeated (kept); tiny: sides below 4 pixels of the network's input",
    ),
    "object.examples": Name("once", "fault", "", "file and object of the first boxes with this fault, a list"),
    "object.longer": Name(
        "once",
        "",
        "pixels",
        "longer side of the training objects at the network's input: minimum, 10 %, 50 %, 90 %, maximum, a list",
    ),
    "object.shorter": Name("once", "", "pixels", "shorter side, the same"),
    "object.canvas": Name("once", "", "pixels", "side of the network's input"),
    # Label maps of semantic segmentation: written by the trainer before the first step.
    "pixel.count": Name("once", "class", "pixels", "pixels of this class in the training set"),
    "pixel.ignored": Name("once", "", "pixels", "pixels of the training set that are left out of the loss"),
    # Poses of objects in space: written by the trainer before the first step, and after each epoch.
    "pose.count": Name("once", "", "poses", "poses in the files, unusable ones among them"),
    "pose.matrices": Name(
        "once", "kind", "poses", "rotations that are none: unnormalised (as of a quaternion), mirrored or other"
    ),
    "pose.examples": Name("once", "kind", "", "file and object of the first poses of this kind, a list"),
    "pose.compared": Name("once", "", "poses", "poses that have a box of the whole object"),
    "pose.apart": Name("once", "", "poses", "poses of these that do not project onto their box"),
    "pose.explanation": Name(
        "once",
        "",
        "",
        "change after which most of these do: xyzw, wxyz (order of quaternions), inverse, unit, camera; none",
    ),
    "pose.deviation": Name(
        "once", "before or after", "", "median deviation from the boxes, in their longer sides, before or after it"
    ),
    "pose.factor": Name("once", "", "", "factor of the translations after which they do"),
    "pose.camera": Name("once", "", "pixels", "intrinsics with which they do: fx, fy, cx, cy, a list"),
    "pose.unit": Name("once", "meshes or translations", "m", "metres per unit, where the two differ"),
    "pose.symmetry_wrong": Name(
        "once", "object", "diameters", "mean distance of the mesh from itself after a declared symmetry that it lacks"
    ),
    "pose.symmetry_undeclared": Name("once", "object", "", "turns that leave its shape unchanged and are not declared"),
    "pose.loss": Name("once", "", "", "rotation loss: ploss, sloss or symmetries"),
    "pose.symmetries": Name("once", "object", "", "number of declared symmetries, the identity among them"),
    "pose.chance": Name(
        "once", "object", "degrees", "mean rotation error of an answer that ignores the image, over the symmetries"
    ),
    "pose.rotation": Name("epoch", "object", "degrees", "mean rotation error in validation, over the symmetries"),
    "pose.depth": Name("epoch", "object", "fraction", "mean relative error of the depth in validation"),
    "pose.found": Name("epoch", "phase", "fraction", "objects of the validation set that have an estimate"),
    "pose.rotation_loss": Name("epoch", "phase", "", "mean rotation loss"),
    "model.receptive_field": Name(
        "once", "", "pixels", "side of the largest patch of the input that a place of the detector's maps sees"
    ),
    "model.finest_stride": Name("once", "", "pixels", "side of a cell of the finest map that is searched for objects"),
    "anchor.covered": Name("once", "", "", "fraction of the training objects that some anchor overlaps by IoU 0.5"),
    "anchor.edges": Name("once", "", "pixels", "bounds of the bars of object sizes (root of the area), a list"),
    "anchor.coverage": Name("once", "", "", "that fraction in each bar, a list (-1: none there)"),
    "anchor.objects": Name("once", "", "objects", "training objects in each bar, a list"),
    # Curvature where a training stalls (the last batch, in the mode it was trained in).
    "point.lowest": Name("epoch", "", "", "smallest eigenvalue of the loss's Hessian"),
    "point.highest": Name("epoch", "", "", "largest eigenvalue of the loss's Hessian"),
    "point.loss": Name("epoch", "", "", "loss there"),
    "point.gradient": Name("epoch", "", "", "norm of the gradient there"),
    "point.kind": Name("epoch", "", "", "slope, minimum, maximum, saddle or flat (see curvature/point.py)"),
    # Logs of other tools, of which only curves are known (doctor/curves/).
    "curves.axis": Name("once", "", "", "unit of x: step or epoch"),
    "curves.start": Name("once", "", "", "loss at the start of the curves, the scale by which its changes are judged"),
    "curves.nonfinite": Name("event", "curve", "", "first value of this curve that is NaN or inf: nan or inf"),
    "curves.validation": Name("epoch", "", "", "step or epoch of this evaluation"),
}


def present_name(name: str) -> str:
    """Name of a quantity as it is called now, of one in a ledger of any version."""
    return FORMER.get(name, name)
