"""The sweep of an experiment as one would write it in PyTorch: quantize a copy of the network, run the test images, count; next cell.

Started as `python -c ANSWERS+THIS THREADS` (`python/answers.py`). Requests come line by line on stdin, every request gets one line on stdout:

    (start)                  hello torch 2.x
    load ARCH FOLDER         ready            reads the network and the images that FOLDER holds (`sweeps/peer.rs` says how)
    cell KEY=VALUE ...       HITS             runs the cell that has these columns of `run.csv`
    (anything that fails)    error WHAT

The original method (`linear`: affine codes from minimum to maximum for each tensor, biases too) and, of `ptq`, what PyTorch has
operators for: weights affine or symmetric, tensor or channel, activations affine by minmax or moving_average, summands of scales of
their own; biases of 32 bits stay in float, which they are not told from. Everything else is refused by name. Formulas of codes are those of `quant-core/src/grid.rs`. Ends when stdin does.
"""
try:
    import copy

    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional
except Exception as problem:
    answer(f"error {problem}; install them: pip install torch numpy")
    sys.exit(1)

torch.set_num_threads(int(sys.argv[1]))
BATCH = 256
# Images that a moving average takes at once.
CALIBRATION_BATCH = 32


class Site(nn.Module):
    """A place where activations are rounded, once it has a scale."""

    def __init__(self):
        super().__init__()
        self.seen, self.grid = None, None

    def forward(self, x):
        if self.seen is not None:
            self.seen.append((x.min().item(), x.max().item()))
        if self.grid is None:
            return x
        return torch.fake_quantize_per_tensor_affine(x, *self.grid)

    def fit(self, bits, momentum):
        if momentum is None:
            low, high = min(low for low, _ in self.seen), max(high for _, high in self.seen)
        else:
            low, high = self.seen[0]
            for ends in self.seen[1:]:
                low, high = (momentum * old + (1 - momentum) * new for old, new in zip((low, high), ends))
        self.seen = None
        low, high, top = min(low, 0.0), max(high, 0.0), 2**bits - 1
        scale = (high - low) / top or 1.0
        self.grid = (scale, min(max(round(-low / scale), 0), top), 0, top)


class Block(nn.Module):
    """Two convolutions and a shortcut of option A (He et al. 2016, section 4.2)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1 if inputs == outputs else 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.site1, self.site2, self.sum = Site(), Site(), Site()
        self.pad = (outputs - inputs) // 2

    def forward(self, x):
        out = self.site1(functional.relu(self.bn1(self.conv1(x))))
        out = self.site2(self.bn2(self.conv2(out)))
        if self.pad:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return self.sum(functional.relu(out + x))


class ResNet(nn.Module):
    def __init__(self, depth, classes):
        super().__init__()
        self.input, self.site, self.pooled, self.logits = Site(), Site(), Site(), Site()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inputs = 16
        for number, outputs in enumerate((16, 32, 64), 1):
            count = (depth - 2) // 6
            blocks = [Block(inputs if first == 0 else outputs, outputs) for first in range(count)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            inputs = outputs
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.site(functional.relu(self.bn1(self.conv1(self.input(x)))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.logits(self.linear(self.pooled(x.mean((2, 3)))))


class Place:
    """What FOLDER holds."""

    def __init__(self, arch, folder):
        depth = arch.removeprefix("cifar-resnet")
        if not depth.isdigit():
            raise ValueError(f"{arch}: only CIFAR's ResNets with shortcuts of option A are written down here")
        read = lambda name, kind: torch.from_numpy(np.fromfile(os.path.join(folder, name), kind))
        with open(os.path.join(folder, "shape.txt")) as file:
            shape = [int(word) for word in file.read().split()]
        self.images = read("images.bin", "<f4").view(-1, *shape)
        self.labels = read("labels.bin", "<i8")
        self.calibration = read("calibration.bin", "<f4").view(-1, *shape)
        values, state, start = read("tensors.bin", "<f4"), {}, 0
        with open(os.path.join(folder, "tensors.txt")) as file:
            for line in file:
                name, *extents = line.split()
                extents = [int(extent) for extent in extents]
                count = int(np.prod(extents))
                state[name] = values[start : start + count].view(extents)
                start += count
        self.base = ResNet(int(depth), len(state["linear.bias"])).eval()
        wrong = [name for name in self.base.load_state_dict(state, strict=False) for name in name]
        if wrong := [name for name in wrong if not name.endswith("num_batches_tracked")]:
            raise ValueError(f"{arch} has other tensors: {wrong[0]}")


def fold(net):
    for module in list(net.modules()):
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2")):
            if hasattr(module, norm):
                pair = (getattr(module, conv), getattr(module, norm))
                setattr(module, conv, nn.utils.fusion.fuse_conv_bn_eval(*pair))
                setattr(module, norm, nn.Identity())


def affine(w, bits, widened):
    low, high = w.min(), w.max()
    if widened:
        low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = (high - low) / (2**bits - 1)
    if scale == 0:
        return w
    zero = torch.round(-low / scale)
    return scale * (torch.clamp(torch.round(w / scale) + zero, 0, 2**bits - 1) - zero)


def symmetric(w, bits):
    most = 2 ** (bits - 1) - 1
    scale = w.abs().max() / most
    return w if scale == 0 else scale * torch.clamp(torch.round(w / scale), -most, most)


def rounded(w, cell, bits, widened):
    one = lambda part: affine(part, bits, widened) if cell["weights_mapping"] == "affine" else symmetric(part, bits)
    return torch.stack([one(part) for part in w]) if cell["weights_granularity"] == "channel" else one(w)


def layers(net):
    return [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


def batches(images, size):
    return (images[start : start + size] for start in range(0, len(images), size))


# By column, what is done here; what no column says anything of is not done.
KNOWN = {
    "method": ("float", "linear", "ptq"),
    "weights_mapping": ("affine", "symmetric"),
    "weights_granularity": ("tensor", "channel"),
    "weights_range": ("minmax",),
    "weights_rounding": ("half_even",),
    "weights_narrow": ("true",),
    "bias": ("same", "float", "int32"),
    "bn": ("kept", "folded"),
    "activations_mapping": ("affine",),
    "calibration_method": ("minmax", "moving_average"),
    "shortcut": ("rescale",),
}
NUMBERS = ("weights_bits", "activations_bits", "first_bits", "last_bits", "calibration_momentum")


def quantized(place, cell):
    net = copy.deepcopy(place.base)
    if cell["method"] == "float":
        return net
    if cell["bn"] == "folded":
        fold(net)
    sites = [module for module in net.modules() if isinstance(module, Site)]
    bits, of_sites = int(cell["weights_bits"]), int(cell["activations_bits"])
    first, last = int(cell.get("first_bits", bits)), int(cell.get("last_bits", bits))
    if of_sites < 32:
        for site in sites:
            site.seen = []
        for images in batches(place.calibration, CALIBRATION_BATCH):
            net(images)
        momentum = cell.get("calibration_momentum")
        for site in sites:
            site.fit(of_sites, momentum and float(momentum))
        ends = [(net.input, cell.get("first_bits"))] + [(site, cell.get("last_bits")) for site in (net.pooled, net.logits)]
        for site, own in ends:
            if own:
                scale, zero, low, top = site.grid
                new = 2 ** int(own) - 1
                site.grid = (scale * top / new, round(zero * new / top), low, new)
    if bits < 32:
        all_layers = layers(net)
        for layer in all_layers:
            own = first if layer is all_layers[0] else last if layer is all_layers[-1] else bits
            widened = cell["method"] != "linear"
            layer.weight.data = rounded(layer.weight.data, cell, own, widened)
            if cell["bias"] == "same" and layer.bias is not None:
                layer.bias.data = affine(layer.bias.data, own, False)
    return net


def run(place, words):
    cell = dict(word.split("=", 1) for word in words)
    for key, value in cell.items():
        if key not in NUMBERS and value not in KNOWN.get(key, ()):
            raise ValueError(f"{key} = {value} is not written down in PyTorch here; leave it out with --set")
    hits = fives = 0
    loss, found = 0.0, []
    with torch.no_grad():
        net = quantized(place, cell)
        for images, labels in zip(batches(place.images, BATCH), batches(place.labels, BATCH)):
            logits = net(images)
            top1 = logits.argmax(1)
            hits += (top1 == labels).sum().item()
            fives += (logits.topk(5, 1)[1] == labels[:, None]).any(1).sum().item()
            loss += functional.cross_entropy(logits, labels, reduction="sum").item()
            found.append(top1)
    found = torch.cat(found)
    place.float = found if cell["method"] == "float" else place.float
    # What a sweep reports beside hits: answers that differ from the float network's.
    (found != place.float).sum().item()
    return hits


answer(f"hello torch {torch.__version__}")
place = None
for line in sys.stdin:
    command, *words = line.split()
    try:
        if command == "load":
            place = Place(words[0], line.split(maxsplit=2)[2].rstrip("\n"))
            answer("ready")
        else:
            answer(run(place, words))
    except Exception as problem:
        answer(f"error {type(problem).__name__}: {problem}")
