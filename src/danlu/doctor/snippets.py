"""Code to paste that several findings share."""

from __future__ import annotations

EPOCH_LOOP = (
    "for epoch in range(epochs):\n"
    "    for x, y in loader:\n"
    "        optimizer.zero_grad()\n"
    "        loss_fn(model(x), y).backward()\n"
    "        optimizer.step()\n"
)
STEPPED_PER_EPOCH = EPOCH_LOOP + "    scheduler.step()"
STEPPED_PER_BATCH = EPOCH_LOOP + "        scheduler.step()"
COSINE_DECAY = "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)\n" + STEPPED_PER_EPOCH
FIT_16_SAMPLES = (
    "x, y = x[:16], y[:16]\n"
    "for step in range(200):\n"
    "    optimizer.zero_grad()\n"
    "    loss = loss_fn(model(x), y)\n"
    "    loss.backward()\n"
    "    optimizer.step()\n"
    "print(loss.item())"
)
