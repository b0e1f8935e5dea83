"""What a user would run instead, timed on request.

Started as `python -c THIS THREADS`. Requests come line by line on stdin, every request gets one line on stdout:

    (start)                  hello torch 2.x, onnxruntime 1.x
    load ARCH SIDE BATCH     ready NAME NAME ...       builds the network of ARCH for SIDE x SIDE pixels
    time NAME SECONDS        images per second, from runs of one batch that last SECONDS together
    (anything that fails)    error WHAT

Ends when stdin does.
"""
import os
import sys

# Libraries print where they like; the answers have the real stdout for themselves.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def answer(text):
    print(" ".join(str(text).split()), file=answers, flush=True)


try:
    import copy
    import tempfile
    import time
    import warnings

    import numpy as np
    import onnx
    import onnxruntime
    import torch
    import torchvision
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
except Exception as problem:
    answer(f"error {problem}; install them: pip install torch torchvision onnx onnxruntime")
    sys.exit(1)

from torch import nn
from torch.nn import functional

THREADS = int(sys.argv[1])
SEED = 1


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, project):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pad = (outputs - inputs) // 2
        self.shortcut = None
        if project and self.pad:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.pad:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return functional.relu(out + x)


class CifarResNet(nn.Module):
    """He et al. 2016, section 4.2, with 6n + 2 layers; option A shortcuts, or B (a projection)."""

    def __init__(self, depth, project):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for outputs in (16, 32, 64):
            for _ in range((depth - 2) // 6):
                blocks.append(BasicBlock(inputs, outputs, 1 if inputs == outputs else 2, project))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(functional.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


def network(arch):
    if arch.startswith("cifar-resnet"):
        depth, _, option = arch.removeprefix("cifar-resnet").partition("-")
        return CifarResNet(int(depth), option == "b")
    return getattr(torchvision.models, arch)(weights=None)


class Calibration(CalibrationDataReader):
    def __init__(self, side):
        self.batches = iter([{"x": np.random.default_rng(SEED).standard_normal((4, 3, side, side), "f4")}])

    def get_next(self):
        return next(self.batches, None)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def load(arch, side, batch):
    """What runs a batch, by name."""
    torch.manual_seed(SEED)
    plain = network(arch).eval()
    images = torch.randn(batch, 3, side, side)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    images_last = images.to(memory_format=torch.channels_last)
    array = images.numpy()
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("float.onnx", "prepared.onnx", "int8.onnx")]
        torch.onnx.export(
            plain,
            (images[:1],),
            paths[0],
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
        quant_pre_process(paths[0], paths[1])
        quantize_static(
            paths[1],
            paths[2],
            Calibration(side),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        float32, int8 = session(paths[0]), session(paths[2])
    return {
        "pytorch": lambda: plain(images),
        "pytorch-channels-last": lambda: last(images_last),
        "onnxruntime": lambda: float32.run(None, {"x": array}),
        "onnxruntime-int8": lambda: int8.run(None, {"x": array}),
    }


def rate(run, batch, seconds):
    """Images per second. The first run is for the caches, which somebody else's work has filled."""
    with torch.inference_mode():
        run()
        batches, start = 0, time.perf_counter()
        while True:
            run()
            batches += 1
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return batches * batch / elapsed


torch.set_num_threads(THREADS)
warnings.simplefilter("ignore")
answer(f"hello torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
runs, batch = {}, 0
for line in sys.stdin:
    try:
        command, *words = line.split()
        if command == "load":
            # The last network's memory goes before the next one's comes.
            runs = {}
            batch = int(words[2])
            runs = load(words[0], int(words[1]), batch)
            answer("ready " + " ".join(runs))
        elif command == "time":
            answer(rate(runs[words[0]], batch, float(words[1])))
        else:
            answer(f"error unknown request {line}")
    except Exception as problem:
        answer(f"error {type(problem).__name__}: {problem}")
