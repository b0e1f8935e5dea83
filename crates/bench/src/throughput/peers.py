"""What a user would run instead, timed on request.

Started as `python -c ANSWERS+THIS THREADS` (`python/answers.py`). Requests come line by line on stdin, every request gets one line on stdout:

    (start)                  hello torch 2.x, onnxruntime 1.x
    load ARCH SIDE BATCH     ready BATCH NAME NAME ... builds the network of ARCH for SIDE x SIDE pixels
    load_file BATCH PATH     ready BATCH NAME NAME ... reads the ONNX file; BATCH is its own where it has one
    time NAME SECONDS        images per second, from runs of one batch that last SECONDS together
    (anything that fails)    error WHAT

Without torch and torchvision a network that has only a name is ready for nobody. Ends when stdin does.
"""
try:
    import contextlib
    import copy
    import tempfile
    import time
    import warnings
    from importlib.util import find_spec

    import numpy as np
    import onnx
    import onnx.version_converter
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
except Exception as problem:
    answer(f"error {problem}; install them: pip install onnx onnxruntime, and torch torchvision for PyTorch")
    sys.exit(1)

try:
    import torch
    import torchvision
    from torch import nn
    from torch.nn import functional
except ImportError:
    torch = None

THREADS = int(sys.argv[1])
SEED = 1

if torch:

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
    def __init__(self, name, images):
        self.batches = iter([{name: images}])

    def get_next(self):
        return next(self.batches, None)


def random_images(*shape):
    return np.random.default_rng(SEED).standard_normal(shape, "f4")


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def on_onnxruntime(path, batch):
    """The batch that is taken, and what runs it, by name: the file, and what onnxruntime.quantization makes of it."""
    float32 = session(path)
    image, *more = float32.get_inputs()
    if more:
        raise ValueError("it has more inputs than the images")
    own, *shape = image.shape
    is_fixed = isinstance(own, int)
    batch = own if is_fixed else batch
    if not all(isinstance(size, int) for size in shape):
        raise ValueError(f"its images have no fixed size: {image.shape}")
    images = random_images(batch, *shape)
    with tempfile.TemporaryDirectory() as folder:
        names = ("recent.onnx", "prepared.onnx", "int8.onnx")
        recent, prepared, quantized = (os.path.join(folder, name) for name in names)
        # The first operator set with a scale for each channel.
        model = onnx.load(path)
        if any(opset.domain == "" and opset.version < 13 for opset in model.opset_import):
            onnx.save(onnx.version_converter.convert_version(model, 13), recent)
            path = recent
        # Symbolic shapes want sympy, which comes with torch; convolutional networks have no need of them.
        quant_pre_process(path, prepared, skip_symbolic_shape=find_spec("sympy") is None)
        quantize_static(
            prepared,
            quantized,
            Calibration(image.name, images if is_fixed else images[:4]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        int8 = session(quantized)
    return batch, {
        "onnxruntime": lambda: float32.run(None, {image.name: images}),
        "onnxruntime-int8": lambda: int8.run(None, {image.name: images}),
    }


def load(arch, side, batch):
    """The batch that is taken, and what runs it, by name."""
    if not torch:
        return batch, {}
    torch.manual_seed(SEED)
    plain = network(arch).eval()
    images = torch.randn(batch, 3, side, side)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    images_last = images.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "float.onnx")
        torch.onnx.export(
            plain,
            (images[:1],),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
        batch, runs = on_onnxruntime(path, batch)
    return batch, {
        "pytorch": lambda: plain(images),
        "pytorch-channels-last": lambda: last(images_last),
        **runs,
    }


def rate(run, batch, seconds):
    """Images per second. The first run is for the caches, which somebody else's work has filled."""
    with torch.inference_mode() if torch else contextlib.nullcontext():
        run()
        batches, start = 0, time.perf_counter()
        while True:
            run()
            batches += 1
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return batches * batch / elapsed


warnings.simplefilter("ignore")
if torch:
    torch.set_num_threads(THREADS)
    answer(f"hello torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
else:
    answer(f"hello onnxruntime {onnxruntime.__version__}; no torch, so that files alone have a peer")
runs, batch = {}, 0
for line in sys.stdin:
    try:
        command, *words = line.split()
        if command == "load":
            # The last network's memory goes before the next one's comes.
            runs = {}
            batch, runs = load(words[0], int(words[1]), int(words[2]))
            answer(" ".join(["ready", str(batch), *runs]))
        elif command == "load_file":
            runs = {}
            # A path may have blanks.
            batch, path = line.rstrip("\n").split(" ", 2)[1:]
            batch, runs = on_onnxruntime(path, int(batch))
            answer(" ".join(["ready", str(batch), *runs]))
        elif command == "time":
            answer(rate(runs[words[0]], batch, float(words[1])))
        else:
            answer(f"error unknown request {line}")
    except Exception as problem:
        answer(f"error {type(problem).__name__}: {problem}")
