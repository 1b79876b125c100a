"""Words of the speed findings."""

from __future__ import annotations

WORDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "speed.input_bound": {
        "en": (
            "The step waits for data",
            "Between two steps {wait} ms pass before the model is called, of {step} ms in all ({share:%}): the model is idle "
            "for that time.",
            "DataLoader(..., num_workers=4, persistent_workers=True, pin_memory=True); decode and resize once and keep the "
            "result (danlu: --data.cache FOLDER), or keep small data in memory; take .item() and prints out of the step.",
        ),
        "zh": (
            "训练在等数据",
            "两步之间有 {wait} 毫秒没有调用模型，而一步共 {step} 毫秒（{share:%}）：这段时间模型空闲。",
            "DataLoader(..., num_workers=4, persistent_workers=True, pin_memory=True)；解码和缩放只做一次并缓存（danlu：--data.cache 文件夹），小数据放在内存；把 .item() 和打印移出循环。",
        ),
    },
    "speed.device_idle": {
        "en": (
            "Batches of {batch} leave the device idle",
            "A step of {step} ms does {rate} samples a second: calling the operations costs more than computing them.",
            "Use larger batches (with the rate scaled along), read numbers back once per epoch, or torch.compile.",
        ),
        "zh": (
            "批次为 {batch}，设备大多空闲",
            "一步 {step} 毫秒，每秒 {rate} 个样本：调用算子的开销大于计算本身。",
            "加大批次（学习率随之缩放），每轮只读回一次数值，或用 torch.compile。",
        ),
    },
    "speed.memory_growth": {
        "en": (
            "Memory grows step after step",
            "Memory of the {where} went from {from} to {to} MiB over {readings} readings and did not come back.",
            "Keep numbers, not tensors: total += loss.item(), outputs.append(y.detach().cpu()); empty lists at the end of an "
            "epoch.",
        ),
        "zh": (
            "内存逐步增长",
            "{where} 的内存在 {readings} 次读数中从 {from} MiB 增至 {to} MiB，没有回落。",
            "保存数值而不是张量：total += loss.item()，outputs.append(y.detach().cpu())；每轮结束清空列表。",
        ),
    },
}
