"""What ONNX Runtime makes of an exported file, on request.

Started as `python -c ANSWERS+THIS THREADS` (`python/answers.py`). Requests come line by line on stdin, every request gets one line on stdout:

    (start)                  hello onnxruntime 1.x
    load FOLDER              ready MODE INTEGERS WATCHED MODE INTEGERS WATCHED values NAME ...
                             reads FOLDER/net.onnx; of each mode of optimization: how many of its nodes compute in integers, and how
                             many where codes are results, too; the dequantized values whose codes those are
    run N C H W              top1 MODE CLASS ... MODE CLASS ...
                             runs the float32 images FOLDER/images; writes FOLDER/MODE.K, the codes of value K of `ready` (from 0),
                             counted from its zero point, as int32
    (anything that fails)    error WHAT

Ends when stdin does.
"""
try:
    import numpy as np
    import onnx
    import onnxruntime
except Exception as problem:
    answer(f"error {problem}; install them: pip install onnx onnxruntime")
    sys.exit(1)

THREADS = int(sys.argv[1])
ALL, NONE = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
# Level of optimization, and whether sums of two products may not saturate.
MODES = {"all": (ALL, "0"), "precise": (ALL, "1"), "none": (NONE, "0")}


def session(model, mode, path):
    """A session, and how many of its nodes compute in integers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, precise = MODES[mode]
    options.add_session_config_entry("session.x64quantprecision", precise)
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    options.optimized_model_filepath = path
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(path).graph.node
    os.remove(path)
    return made, sum(node.op_type.startswith("QLinear") or node.op_type == "QGemm" for node in nodes)


def watched(model):
    """The model with codes as results, too; by their names the values that they become, and zero points."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    values = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] not in constants and node.input[0] not in values:
            zero = constants[node.input[2]]
            values[node.input[0]] = (node.output[0], int(onnx.numpy_helper.to_array(zero)))
            model.graph.output.append(onnx.helper.make_tensor_value_info(node.input[0], zero.data_type, None))
    return model, values


class Loaded:
    def __init__(self, folder):
        self.folder = folder
        plain = onnx.load(os.path.join(folder, "net.onnx"))
        seen, values = watched(plain)
        self.codes, self.zeros = list(values), [zero for _, zero in values.values()]
        self.input, self.result = plain.graph.input[0].name, plain.graph.output[0].name
        self.sessions, counts = {}, []
        for mode in MODES:
            path = os.path.join(folder, "optimized.onnx")
            first, integers = session(plain, mode, path)
            second, with_codes = session(seen, mode, path) if values else (first, integers)
            self.sessions[mode] = (first, second)
            counts += [mode, integers, with_codes]
        self.ready = " ".join(map(str, ["ready", *counts, "values", *(name for name, _ in values.values())]))

    def run(self, shape):
        images = np.fromfile(os.path.join(self.folder, "images"), "<f4").reshape(shape)
        found = ["top1"]
        for mode, (first, second) in self.sessions.items():
            logits, = first.run([self.result], {self.input: images})
            found += [mode, *logits.argmax(1)]
            made = second.run(self.codes, {self.input: images}) if self.codes else []
            for k, (codes, zero) in enumerate(zip(made, self.zeros)):
                (codes.astype("<i4") - zero).tofile(os.path.join(self.folder, f"{mode}.{k}"))
        return " ".join(map(str, found))


answer(f"hello onnxruntime {onnxruntime.__version__}")
loaded = None
for line in sys.stdin:
    try:
        command, rest = line.rstrip("\n").split(" ", 1)
        if command == "load":
            loaded = Loaded(rest)
            answer(loaded.ready)
        elif command == "run":
            answer(loaded.run([int(word) for word in rest.split()]))
        else:
            answer(f"error unknown request {line}")
    except Exception as problem:
        answer(f"error {type(problem).__name__}: {problem}")
