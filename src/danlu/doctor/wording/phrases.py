"""Chinese of the sentences that rules and instruments make themselves: English sentence -> Chinese, braces in order."""

from __future__ import annotations

ZH: dict[str, str] = {
    # Places.
    "training": "训练",
    "validation": "验证",
    "train": "训练",
    "val": "验证",
    "output": "输出",
    "loss": "损失",
    "inputs": "输入",
    "labels": "标签",
    "before training": "训练之前",
    "layer {}": "第 {} 层",
    "class {}": "类别 {}",
    "process": "进程",
    "process_step": "进程",
    "device": "设备",
    # data
    "outside": "超出范围",
    "sign": "正负号",
    "from one": "从 1 计数",
    "{:%} of validation's samples change from epoch to epoch under the same labels": (
        "{:%} 的验证样本在标签不变的情况下每轮都在变"
    ),
    "training has hardly any labels of the classes {}": "训练中几乎没有这些类的标签：{}",
    "training inputs have mean {} and deviation {}, validation's {} and {}": (
        "训练输入的均值为 {}、标准差为 {}，验证输入为 {} 和 {}"
    ),
    "Give the random transform to the training set alone; resize and normalise alone for validation.": (
        "随机变换只用于训练集；验证集只做缩放和归一化。"
    ),
    "Weaken it until training images can be told by eye: smaller noise, erasing and rotation.": (
        "减弱到人眼能认出训练图片：减小噪声、擦除和旋转。"
    ),
    "it sees {:g} pixels, and a tenth of the objects are longer than {:.3g}": (
        "感受野为 {:g} 像素，而十分之一的目标长于 {:.3g} 像素"
    ),
    "its finest map has a stride of {:g}, and half of the objects are narrower than {:.3g} pixels": (
        "最细特征图的步幅为 {:g}，而一半的目标窄于 {:.3g} 像素"
    ),
    # model
    "{} weights hold one constant value": "{} 个权重张量是同一个常数",
    "the scale shrinks by a factor {:.2g} per layer": "尺度每层缩小为 {:.2g} 倍",
    "the scale grows by a factor {:.2g} per layer": "尺度每层放大 {:.2g} 倍",
    "the first loss is {:.3g}, that of guessing is ln {} = {:.3g}": "初始损失为 {:.3g}，随机猜测应为 ln {} = {:.3g}",
    "{} has {} outputs for {} classes": "{} 只有 {} 个输出，而类别有 {} 个",
    "there is no hidden layer": "没有隐藏层",
    "shapes {} broadcast to every pair of samples": "形状 {} 会广播成所有样本两两配对",
    "targets of the outputs' shape": "与输出形状相同的目标",
    "{} before {}": "{} 之后接 {}",
    "plain scores before {1}": "未经处理的得分直接接 {1}",
    "{} outputs for {} classes": "{} 个输出，而类别只有 {} 个",
    "{} outputs": "{} 个输出",
    "plain scores (logits)": "未经处理的得分（logits）",
    "sigmoid (or bce_with_logits without it)": "sigmoid（或不加它而用 bce_with_logits）",
    "no {}: targets reach from {:.3g} to {:.3g}": "不加 {}：目标的范围是 {:.3g} 到 {:.3g}",
    "a linear layer, whose outputs are plain scores": "线性层，输出是未经处理的得分",
    "{} ({})": "{}（{}）",
    "{} in forward()": "forward() 中的 {}",
    "the last layer": "最后一层",
    "none": "无",
    "Give both one shape: loss = loss_fn(outputs, y.view_as(outputs)).": (
        "让两者形状相同：loss = loss_fn(outputs, y.view_as(outputs))。"
    ),
    "Change {}: let it give {} outputs.": "修改 {}，使其有 {} 个输出。",
    "Delete {}, the nn.{} at the end of the model: let it return the scores that go into it.": (
        "删除 {}（模型末尾的 nn.{}），直接返回送入它的得分。"
    ),
    "In forward(), return the scores themselves: return x in place of return torch.{}(x).": (
        "在 forward() 中直接返回得分：把 return torch.{}(x) 改为 return x。"
    ),
    "loss_fn = nn.BCEWithLogitsLoss(), which applies the sigmoid itself.": (
        "loss_fn = nn.BCEWithLogitsLoss()，它自带 sigmoid。"
    ),
    "Replace {} at the end of the model by nn.Sigmoid(), or delete it and use nn.BCEWithLogitsLoss().": (
        "把模型末尾的 {} 换成 nn.Sigmoid()，或删除它并改用 nn.BCEWithLogitsLoss()。"
    ),
    "loss_fn = nn.CrossEntropyLoss() in place of nn.NLLLoss(); or return torch.log_softmax(x, dim=1).": (
        "用 loss_fn = nn.CrossEntropyLoss() 代替 nn.NLLLoss()；或 return torch.log_softmax(x, dim=1)。"
    ),
    "Delete {} at the end of the model and use nn.CrossEntropyLoss(); or put nn.LogSoftmax(dim=1) in its place.": (
        "删除模型末尾的 {} 并改用 nn.CrossEntropyLoss()；或换成 nn.LogSoftmax(dim=1)。"
    ),
    "classes": "类别",
    "one_hot": "独热向量",
    "binary": "0 和 1",
    "values": "实数",
    # loop
    "optimizer.step() is never called": "从未调用 optimizer.step()",
    "backward() is never called, or on something that does not depend on the model": (
        "从未调用 backward()，或被调用的量与模型无关"
    ),
    "neither backward() nor optimizer.step() is called": "backward() 和 optimizer.step() 都没有调用",
    "the optimiser holds other tensors than the model's parameters": "优化器中的张量不是这个模型的参数",
    "the optimiser steps, but no weight changes": "优化器在走步，但没有任何权重变化",
    "the learning rate is zero": "学习率为零",
    "training runs in eval mode": "训练在 eval 模式下进行",
    "validation runs in train mode": "验证在 train 模式下进行",
    "{} graphs of earlier losses are still alive at the end of the epoch": "轮末仍有 {} 个早先损失的计算图存活",
    "validation records gradients": "验证时记录了梯度",
    "the rate {:.3g} was replaced by {:.3g} before any step used it": "学习率 {:.3g} 还没用过一步就被换成了 {:.3g}",
    "Call scheduler.step() after optimizer.step().": "在 optimizer.step() 之后调用 scheduler.step()。",
    "Call scheduler.step() once per epoch, or give the schedule epochs * len(loader) steps.": (
        "每轮只调用一次 scheduler.step()，或把总步数设为 epochs * len(loader)。"
    ),
    "the rate changed {} times in the first epoch and fell to {:%} of its value": (
        "学习率在第一轮中变了 {} 次，降到原来的 {:%}"
    ),
    "after a third of the run the rate was {:%} of its value": "训练进行到三分之一时，学习率只剩原来的 {:%}",
    "the rate was still rising slowly when the run ended, from {:.3g} to {:.3g}": (
        "训练结束时学习率仍在缓慢上升，从 {:.3g} 到 {:.3g}"
    ),
    "Call scheduler.step() after every batch, or give the schedule the number of epochs.": (
        "每个批次之后调用 scheduler.step()，或按轮数设置调度器。"
    ),
    "the mean of the batches": "各批次的平均",
    "divided by batch size x batches": "除以批大小 × 批次数",
    # optim
    "The loss stopped being a number at step {}": "损失在第 {} 步不再是数",
    "The loss rose to {} times its start, at step {}": "损失在第 {1} 步升到开始时的 {0} 倍",
    "The first steps changed the weights by {:%} each": "最初几步每步改变权重的 {:%}",
    "All {} layers begin with weights near zero (largest gain {:.2g}, 1 keeps the scale), "
    "and for {} steps the loss did not get below that of guessing": (
        "全部 {} 层的初始权重都接近零（最大增益 {:.2g}，1 才能保持尺度），有 {} 步损失没有降到随机猜测以下"
    ),
    "Curvature is {:.3g} in one direction and {:.3g} in another": "曲率在一个方向为 {:.3g}，在另一个方向为 {:.3g}",
    "at most {} samples": "至多 {} 个样本",
    "{} samples, by the micro-batches of single steps": "约 {} 个样本（由单步内的微批次测得）",
    # activation
    "sigmoid or tanh": "sigmoid 或 tanh",
    # numerics
    "The loss is {} at step {}": "第 {1} 步损失为 {0}",
    "The loss is {} at step {}: {}": "第 {1} 步损失为 {0}：{2}",
    "the input": "输入",
    "the target": "目标",
    "the weight {}": "权重 {}",
    "the output of {}": "{} 的输出",
    "what flows into {}": "流入 {} 的数值",
    "the output of the model": "模型的输出",
    "the loss itself": "损失本身",
    "the gradient of {}": "{} 的梯度",
    "a place that was not seen": "没有看到的地方",
    "; samples of the batch: {}; largest input there: {}": "；批内样本：{}；该处最大输入：{}",
    "; samples of the batch: {}": "；批内样本：{}",
    "; largest input there: {}": "；该处最大输入：{}",
    "{} gives values beyond 65504": "{} 的输出超过 65504",
    "a layer": "某一层",
    "the loss scale fell from {:.3g} to {:.3g}": "损失缩放倍数从 {:.3g} 降到 {:.3g}",
    "{:%} of the gradient is exactly zero, and the loss is not scaled": "梯度中有 {:%} 恰为零，而损失没有缩放",
    "bad input": "输入有坏值",
    "bad target": "目标有坏值",
    "weights not finite before the first step": "第一步之前权重就不是有限数",
    "divergence": "发散",
    "gradient not finite": "梯度不是有限数",
    "between layers": "两层之间",
    "after the last layer": "最后一层之后",
    "the outputs are gone": "输出已释放",
    "overflow of float16": "float16 溢出",
    "overflow": "溢出",
    "invalid operation (0/0, inf - inf, root or log of a negative number)": (
        "无效运算（0/0、inf - inf、负数的根或对数）"
    ),
    "log of zero": "对零取对数",
    "overflow of exp": "exp 溢出",
    "division by zero": "除以零",
    "square root at zero": "在零处开方",
    "norm of a zero vector": "零向量的范数",
    "power": "幂",
    "arc cosine at its end": "反余弦的端点",
    "standard deviation of one value": "单个值的标准差",
    "atanh at its end": "atanh 的端点",
    "not told": "原因不明",
    # gradient
    "grows by a factor {} per call towards the first (ratio {})": "向首次调用方向每次放大 {} 倍（比值 {}）",
    "grows by a factor {} per layer towards the input (ratio {})": "向输入方向每层放大 {} 倍（比值 {}）",
    "grew from norm {} over the steps": "随训练从范数 {} 增长",
    # fit
    "{:%} of the predictions are class {}": "{:%} 的预测是类别 {}",
    "a weight of about {:.3g} on class 1, where the shares of the classes ask for {:.2g}": (
        "类别 1 的权重约为 {:.3g}，而按类别占比应为 {:.2g}"
    ),
    "in the loss class {} weighs {:.3g} times what its share asks for": "损失中类别 {} 的权重是其占比所需的 {:.3g} 倍",
    "The other classes hardly count beside it.": "与它相比，其他类别几乎不计。",
    "Class {} is {:%} of the predictions and {:%} of the labels.": "类别 {} 占预测的 {:%}，占标签的 {:%}。",
    "the loss ({:.3g}) hardly counts the {:%} of wrong predictions": "损失（{:.3g}）几乎不计那 {:%} 的错误预测",
    "Dropout with rate {:.2g}": "比例为 {:.2g} 的 dropout",
    "Augmentation or noise": "增强或噪声",
    # What could not be seen.
    "layers": "各层",
    "the model is compiled: torch.compile hides what happens inside it": "模型已编译：torch.compile 隐藏了内部过程",
    "clipping": "梯度裁剪",
    "several processes share the work: gradients are seen after their exchange only": (
        "多个进程分担计算：只能看到交换之后的梯度"
    ),
    "replay": "重放",
    "no batch can be run again: the model is compiled in place, spread over processes, or called in parts": (
        "批次无法重新运行：模型被就地编译、分布在多个进程，或只被部分调用"
    ),
    "no loss was seen: give loss_fn, wrap it by doctor.loss(loss_fn), or call doctor.observe": (
        "没有看到损失：请给出 loss_fn，用 doctor.loss(loss_fn) 包装，或调用 doctor.observe"
    ),
    "passes": "前向",
    "the model itself was never called, only parts of it (model.part(x), model.forward(x)) or what torch.compile made of "
    "it: watch the one that is called": (
        "从未调用模型本身，只调用了它的一部分（model.part(x)、model.forward(x)）或 torch.compile 编译出的模型：请监视实际被调用的那个"
    ),
    "curvature": "曲率",
    "the instrument failed and was put aside": "仪器出错，已停用",
}
