"""ONNX files: read as onnx's reference implementation evaluates them, or refused by node."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

from depthwright.networks.reading import onnx_files, read
from depthwright.refusal import Refusal

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

EPS = float(np.finfo(np.float64).eps)


def weight(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape)


def model(nodes, constants, shape, dtype=np.float64, opset=18, outputs=("y",), domain=""):
    """Nodes as (kind, inputs, outputs, attributes); x in, y out."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = [
        helper.make_node(op, list(ins), list(outs), domain=domain, **attributes)
        for op, ins, outs, attributes in nodes
    ]
    tensors = [
        numpy_helper.from_array(
            np.asarray(v, dtype if np.asarray(v).dtype.kind == "f" else None), name
        )
        for name, v in constants.items()
    ]
    graph = helper.make_graph(
        made, "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        tensors,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(kind, *ins, out="y", **attributes):
    return kind, ("x", *ins), (out,), attributes


INTS = {"rows": np.array([2, 0]), "shape": np.array([0, -1]), "two": np.array([2, 2])}
RELU = ("Relu", ("h",), ("y",), {})
KINDS = {
    "Gemm": (
        [node("Gemm", "w", "b", out="h", transB=1, alpha=0.5, beta=2.0), RELU],
        {"w": weight(4, 3), "b": weight(4)},
        (1, 3),
        18,
    ),
    "MatMul, Add": (
        [node("MatMul", "w", out="g"), ("Add", ("g", "b"), ("h",), {}), RELU],
        {"w": weight(3, 4), "b": weight(4)},
        ("batch", 3),
        18,
    ),
    "Sub, Mul, Div, Neg, Abs": (
        [
            node("Sub", "b", out="a"),
            ("Div", ("a", "c"), ("e",), {}),
            ("Neg", ("e",), ("f",), {}),
            ("Mul", ("b", "f"), ("g",), {}),
            ("Abs", ("g",), ("h",), {}),
            ("Sub", ("b", "h"), ("y",), {}),
        ],
        {"b": weight(3), "c": np.array([3.0, 0.5, -7.0])},
        (1, 3),
        18,
    ),
    "BatchNormalization": (
        [node("BatchNormalization", "s", "b", "m", "v", out="h", epsilon=1e-3), RELU],
        {"s": weight(2), "b": weight(2, seed=1), "m": weight(2, seed=2), "v": np.array([0.3, 2.0])},
        (1, 2, 3),
        18,
    ),
    "Conv": (
        [node("Conv", "w", "b", out="h", pads=[1, 0, 0, 1], strides=[2, 1], group=2), RELU],
        {"w": weight(4, 1, 3, 2), "b": weight(4)},
        (1, 2, 5, 4),
        18,
    ),
    "Conv, SAME_UPPER": (
        [node("Conv", "w", auto_pad="SAME_UPPER", strides=[2])],
        {"w": weight(2, 1, 4)},
        (1, 1, 7),
        18,
    ),
    "Conv, SAME_LOWER": (
        [node("Conv", "w", auto_pad="SAME_LOWER", strides=[2])],
        {"w": weight(2, 1, 4)},
        (1, 1, 7),
        18,
    ),
    "ConvTranspose": (
        [node("ConvTranspose", "w", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])],
        {"w": weight(2, 3, 3, 3)},
        (1, 2, 3, 3),
        18,
    ),
    "MaxPool": (
        [node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])],
        {},
        (1, 2, 5, 4),
        18,
    ),
    "AveragePool": (
        [node("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 1, 1, 1])],
        {},
        (1, 1, 5, 4),
        18,
    ),
    "AveragePool, border counted": (
        [node("AveragePool", kernel_shape=[3], pads=[1, 1], count_include_pad=1)],
        {},
        (1, 1, 5),
        18,
    ),
    "global pools": (
        [
            node("GlobalAveragePool", out="a"),
            node("GlobalMaxPool", out="b"),
            ("Concat", ("a", "b"), ("c",), {"axis": 1}),
            ("Flatten", ("c",), ("y",), {}),
        ],
        {},
        (1, 2, 2, 3),
        18,
    ),
    "LeakyRelu, PRelu": (
        [node("LeakyRelu", out="h", alpha=0.3), ("PRelu", ("h", "s"), ("y",), {})],
        {"s": weight(2, 1)},
        (1, 2, 3),
        18,
    ),
    "Clip": (
        [node("Clip", "low", "high")],
        {"low": np.float64(-0.3), "high": np.float64(0.4)},
        (1, 3),
        18,
    ),
    "Clip from below": ([node("Clip", "low")], {"low": np.float64(-0.3)}, (1, 3), 18),
    "Clip, old": ([node("Clip", min=-0.5, max=0.25)], {}, (1, 3), 7),
    "HardSigmoid": ([node("HardSigmoid", alpha=0.3)], {}, (1, 4), 18),
    "Max, Min, Sum, Mean": (
        [
            node("Max", "b", "c", out="f"),
            node("Min", "c", out="g"),
            ("Sum", ("f", "g", "x"), ("h",), {}),
            ("Mean", ("h", "x", "b"), ("y",), {}),
        ],
        {"b": weight(3), "c": weight(3, seed=5)},
        (1, 3),
        18,
    ),
    "reductions": (
        [
            node("ReduceMean", "axes", out="a", keepdims=0),
            node("ReduceSum", "axes", out="b", keepdims=0),
            node("ReduceMax", "axes", out="c", keepdims=0),
            node("ReduceMin", "axes", out="d", keepdims=0),
            ("Concat", ("a", "b", "c", "d"), ("y",), {"axis": 1}),
        ],
        {"axes": np.array([2])},
        (1, 2, 3),
        18,
    ),
    "ReduceMean, old": ([node("ReduceMean", axes=[1, 2], keepdims=1)], {}, (1, 2, 3), 11),
    "Reshape by Shape": (
        [
            node("Shape", out="s"),
            ("Gather", ("s", "first"), ("n",), {"axis": 0}),
            ("Concat", ("n", "rest"), ("t",), {"axis": 0}),
            node("Reshape", "t"),
        ],
        {"first": np.array([0]), "rest": np.array([-1])},
        (1, 2, 3),
        18,
    ),
    "Transpose, Slice, Gather": (
        [
            node("Transpose", out="t", perm=[0, 2, 1]),
            ("Slice", ("t", "from", "to", "axis"), ("s",), {}),
            ("Gather", ("s", "rows"), ("y",), {"axis": 1}),
        ],
        {"from": np.array([1]), "to": np.array([4]), "axis": np.array([1]), **INTS},
        (1, 2, 4),
        18,
    ),
    "Split, Squeeze, Unsqueeze": (
        [
            ("Split", ("x", "two"), ("a", "b"), {"axis": 1}),
            ("Unsqueeze", ("a", "one"), ("c",), {}),
            ("Squeeze", ("c", "one"), ("d",), {}),
            ("Concat", ("b", "d"), ("y",), {"axis": -1}),
        ],
        {"one": np.array([1]), **INTS},
        (1, 4),
        18,
    ),
    "Squeeze, Unsqueeze, old": (
        [node("Unsqueeze", out="c", axes=[1]), ("Squeeze", ("c",), ("y",), {"axes": [1]})],
        {},
        (1, 4),
        11,
    ),
    "Pad": (
        [node("Pad", "pads", "value", out="a"), ("Pad", ("a", "edge"), ("y",), {"mode": "edge"})],
        {"pads": np.array([0, 1, 0, 2]), "value": np.float64(0.3), "edge": np.array([0, 1, 0, 2])},
        (1, 4),
        18,
    ),
    "Concat with a constant": (
        [("Concat", ("x", "c"), ("y",), {"axis": 1})],
        {"c": weight(1, 2)},
        (1, 3),
        18,
    ),
    "Dropout, Identity, Cast": (
        [
            node("Dropout", out="a"),
            ("Identity", ("a",), ("b",), {}),
            ("Cast", ("b",), ("y",), {"to": TensorProto.DOUBLE}),
        ],
        {},
        (1, 3),
        18,
    ),
    "Resize, Trilu, ScatterND": (
        [
            node("Resize", "", "scales", out="r", mode="nearest"),
            ("Trilu", ("r",), ("t",), {"upper": 0}),
            ("ScatterND", ("t", "at", "new"), ("s",), {}),
            ("Squeeze", ("x",), ("q",), {}),
            ("ScatterND", ("s", "at", "q"), ("y",), {}),
        ],
        {
            "scales": np.array([1.0, 2.0, 3.0], np.float32),
            "at": np.array([[0, 0, 0], [0, 3, 2]]),
            "new": weight(2),
        },
        (1, 2, 1),
        18,
    ),
    "Conv, SAME_UPPER, dilated": (
        [node("Conv", "w", auto_pad="SAME_UPPER", dilations=[2])],
        {"w": weight(2, 1, 3)},
        (1, 1, 7),
        18,
    ),
    "Where, ReduceL1, Shape of a part": (
        [
            ("Where", ("c", "x", "b"), ("h",), {}),
            node("Shape", out="s", start=1),
            ("Reshape", ("h", "s"), ("f",), {}),
            ("ReduceL1", ("f", "axis"), ("y",), {}),
        ],
        {"c": np.array([True, False, True]), "b": weight(3), "axis": np.array([1])},
        (1, 2, 3),
        18,
    ),
    "constants are folded": (
        [("Exp", ("w",), ("e",), {}), node("MatMul", "e")],
        {"w": weight(3, 2)},
        (1, 3),
        18,
    ),
}


def exactly(plain, x):
    """In extended precision, and all terms by absolute value."""
    value, size = x.astype(np.longdouble), np.abs(x)
    for k, (matrix, bias) in enumerate(zip(plain.weights, plain.biases, strict=True)):
        value = (np.maximum(value, 0) if k else value) @ matrix.T.astype(np.longdouble) + bias
        size = size @ np.abs(matrix).T + np.abs(bias)
    return value.astype(np.float64), size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nodes_are_read_as_they_are_evaluated(kind, dtype, tmp_path):
    nodes, constants, shape, opset = KINDS[kind]
    if "Cast" in kind and dtype == np.float32:
        nodes = [*nodes[:-1], ("Cast", ("b",), ("y",), {"to": TensorProto.FLOAT})]
    proto = model(nodes, constants, shape, dtype, opset)
    onnx.save(proto, tmp_path / "net.onnx")
    plain = read(tmp_path / "net.onnx")
    fixed = [1 if isinstance(n, str) else n for n in shape]
    x = np.random.default_rng(1).standard_normal((6, *fixed)).astype(dtype)
    reference = ReferenceEvaluator(proto)
    wanted = np.array([reference.run(None, {"x": point})[0].reshape(-1) for point in x])
    got, size = exactly(plain, x.reshape(6, -1).astype(np.float64))
    # each sum of k terms is off by k·eps of its terms' sizes; attributes are float32
    steps = 4 * sum(w.shape[1] + 2 for w in plain.weights)
    eps = float(np.finfo(np.float32 if "Hard" in kind or dtype == np.float32 else dtype).eps)
    assert wanted.shape == got.shape
    assert (np.abs(got - wanted) <= steps * eps * size + 1e-300).all()


LATER = [("MatMul", ("x", "w"), ("h",), {})]
REFUSED = {
    r"node y \(Softmax\) computes Softmax.*before the softmax": ([node("Softmax")], {}, (1, 3)),
    r"node y \(Tanh\) computes Tanh": ([node("Tanh")], {}, (1, 3)),
    r"node y \(Mul\) multiplies two values": ([node("Mul", "x")], {}, (1, 3)),
    r"node y \(Div\) divides by a value": ([node("Div", "x")], {}, (1, 3)),
    r"node y \(MatMul\) multiplies 3 values by a matrix of 2": (
        [node("MatMul", "w")],
        {"w": weight(2, 2)},
        (1, 3),
    ),
    r"node y \(Gather\) picks entries at places": (
        [("Cast", ("x",), ("i",), {"to": TensorProto.DOUBLE}), ("Gather", ("w", "i"), ("y",), {})],
        {"w": weight(3)},
        (1, 3),
    ),
    r"node i \(Cast\) turns values into": (
        [node("Cast", out="i", to=TensorProto.INT64), ("Relu", ("i",), ("y",), {})],
        {},
        (1, 3),
    ),
    r"computes batches of 4 inputs": ([node("Relu")], {}, (4, 3)),
    r"leaves the shape of its input x open": ([node("Relu")], {}, (1, "length")),
    r"does not depend on its input": ([("Relu", ("w",), ("y",), {})], {"w": weight(1, 3)}, (1, 3)),
    r"w in net.onnx is complex128": ([node("Add", "w")], {"w": weight(3) * 1j}, (1, 3)),
    r"needs finite weights": ([node("Mul", "w")], {"w": np.array([1.0, np.inf, 2])}, (1, 3)),
    r"node y \(Add\) reads none, which no node before it gives": (
        [node("Add", "none")],
        {},
        (1, 3),
    ),
    r"node y \(Add\) reads at, which.*positions of maxima are none": (
        [
            ("MaxPool", ("x",), ("h", "at"), {"kernel_shape": [2]}),
            ("Add", ("h", "at"), ("y",), {}),
        ],
        {},
        (1, 1, 4),
    ),
    r"other values for a batch of inputs than for one": (
        [node("ReduceMean", "first", out="h"), ("Sub", ("x", "h"), ("y",), {})],
        {"first": np.array([0])},
        ("batch", 3),
    ),
    r"node y \(Resize\) mixes neighbours": (
        [node("Resize", "", "two", mode="linear")],
        {"two": np.array([1.0, 1.0, 2.0])},
        (1, 1, 3),
    ),
    r"node y \(ScatterND\) picks entries at places": (
        [("ScatterND", ("x", "x", "new"), ("y",), {})],
        {"new": weight(3)},
        (1, 3),
    ),
    r"eval\(\)": (
        [node("BatchNormalization", "s", "s", "s", "s", training_mode=1)],
        {"s": np.ones(2)},
        (1, 2, 3),
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_other_files_are_refused_by_node(words, tmp_path):
    nodes, constants, shape = REFUSED[words]
    onnx.save(model(nodes, constants, shape), tmp_path / "net.onnx")
    with pytest.raises(Refusal, match=words):
        read(tmp_path / "net.onnx")


def test_what_is_no_network_file_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no such format")
    with pytest.raises(Refusal, match="cannot be read as ONNX"):
        read(tmp_path / "net.onnx")
    two = model([node("Relu"), node("Neg", out="z")], {}, (1, 3), outputs=("y", "z"))
    onnx.save(two, tmp_path / "two.onnx")
    with pytest.raises(Refusal, match="1 inputs and 2 outputs"):
        read(tmp_path / "two.onnx")
    onnx.save(model([node("Gelu")], {}, (1, 3), domain="com.microsoft"), tmp_path / "own.onnx")
    with pytest.raises(Refusal, match=r"an operation of com\.microsoft"):
        read(tmp_path / "own.onnx")


def test_a_cast_that_rounds_is_named(tmp_path):
    nodes = [
        ("Cast", ("x",), ("h",), {"to": TensorProto.FLOAT16}),
        ("Cast", ("h",), ("y",), {"to": TensorProto.FLOAT}),
    ]
    onnx.save(model(nodes, {}, (1, 3), np.float32), tmp_path / "net.onnx")
    with pytest.raises(Refusal, match=r"node h \(Cast\) rounds to float16"):
        read(tmp_path / "net.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".nnet", ".safetensors"])
def test_an_empty_file_is_called_empty(tmp_path, suffix):
    (tmp_path / f"net{suffix}").write_bytes(b"")
    with pytest.raises(Refusal, match=f"net{suffix} is empty"):
        read(tmp_path / f"net{suffix}")


def test_an_open_shape_is_filled_in(tmp_path):
    onnx.save(model([node("Relu")], {}, ("batch", "length")), tmp_path / "net.onnx")
    assert read(tmp_path / "net.onnx", input_shape=(3,)).widths == (3, 3, 3)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 3), (1, 1, 3)])
def test_a_shape_that_the_file_contradicts_is_refused(tmp_path, shape):
    onnx.save(model([node("Relu")], {}, ("batch", 3)), tmp_path / "net.onnx")
    with pytest.raises(
        Refusal, match=r"does not fit net\.onnx, whose input x has the shape \(1, 3\)"
    ):
        read(tmp_path / "net.onnx", input_shape=shape)


def test_vectors_without_a_batch_are_read(tmp_path):
    onnx.save(model([node("MatMul", "w")], {"w": weight(3, 2)}, (3,)), tmp_path / "net.onnx")
    plain = read(tmp_path / "net.onnx")
    assert np.array_equal(plain.weights[0], weight(3, 2).T)


@pytest.mark.parametrize("runtime", [True, False])
def test_files_that_mean_something_else_are_refused_without_onnxruntime_too(
    tmp_path, monkeypatch, runtime
):
    """Sums of opset 6 broadcast along `axis`; whole numbers divide otherwise; sparse tensors."""
    if not runtime:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    two = np.array([2.0, 3.0])
    onnx.save(
        model([node("Add", "b", broadcast=1, axis=1)], {"b": two}, (1, 2, 2), opset=6),
        tmp_path / "old.onnx",
    )
    onnx.save(model([node("Div", "b")], {"b": two.astype(int)}, (1, 2), int), tmp_path / "int.onnx")
    sparse = model([node("Gemm", "w", "b")], {"w": weight(2, 2)}, (1, 2))
    values, places = numpy_helper.from_array(two[:1], "b"), numpy_helper.from_array(np.array([0]))
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2]))
    onnx.save(sparse, tmp_path / "sparse.onnx")
    for name, words in (("old", "opset 6.*convert_version"), ("int", "x of int.onnx is int64"), (
        "sparse", "b in sparse.onnx is sparse")):  # fmt: skip
        with pytest.raises(Refusal, match=words):
            read(tmp_path / f"{name}.onnx")


def test_attributes_that_are_left_out_are_float32(tmp_path):
    """As those that are written: the slope is the float32 nearest to 0.01."""
    onnx.save(model([node("LeakyRelu")], {}, (1, 1)), tmp_path / "net.onnx")
    plain = read(tmp_path / "net.onnx")
    at = np.array([[-1.0]])
    wanted = ReferenceEvaluator(onnx.load(tmp_path / "net.onnx")).run(None, {"x": at})[0]
    assert exactly(plain, at)[0] == wanted == -float(np.float32(0.01))


def test_the_product_of_two_constants_is_exact_or_bounded(tmp_path):
    """beta · C of a Gemm."""
    bias, beta = 1 / 3, float(np.float32(0.3))
    nodes = [node("Gemm", "w", "b", beta=beta)]
    onnx.save(model(nodes, {"w": np.eye(1), "b": np.array([bias])}, (1, 1)), tmp_path / "net.onnx")
    plain = read(tmp_path / "net.onnx")
    off = abs(Fraction(plain.biases[0][0]) - Fraction(bias) * Fraction(beta))
    assert 0 < off <= plain.deviation(np.zeros(1), np.zeros(1))[0] <= EPS


def test_bfloat16_is_read(tmp_path):
    made = model([node("Add", "w")], {"w": np.zeros((1, 2))}, (1, 2), np.float32)
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, [1, 2], [1.5, -2.0])
    made.graph.initializer[0].CopyFrom(tensor)
    onnx.save(made, tmp_path / "net.onnx")
    assert read(tmp_path / "net.onnx").biases[0].tolist() == [1.5, -2.0]


def test_a_reading_that_onnxruntime_contradicts_is_refused(tmp_path, monkeypatch):
    onnx.save(model([node("Neg")], {}, (1, 3)), tmp_path / "net.onnx")
    monkeypatch.setitem(onnx_files.OPERATIONS, "Neg", lambda tape, _, x: tape.scale(x, 1))
    with pytest.raises(Refusal, match=r"onnxruntime's values of net\.onnx"):
        read(tmp_path / "net.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra_reading_is_refused_or_not_checked(tmp_path, monkeypatch, missing):
    onnx.save(model([node("Neg")], {}, (1, 3)), tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "onnx":
        with pytest.raises(Refusal, match=r"pip install 'depthwright\[onnx\]'"):
            read(tmp_path / "net.onnx")
    else:
        assert read(tmp_path / "net.onnx").widths == (3, 3)


MANY = np.array([10**5, 10**5])
LOOP = helper.make_graph(
    [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["h"], ["k"])],
    "body",
    [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("h", TensorProto.DOUBLE, [1]),
    ],
    [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("k", TensorProto.DOUBLE, [1]),
    ],
)
ADD = ("Add", ("x", "h"), ("y",), {})
BOMBS = {
    "ConstantOfShape": ([("ConstantOfShape", ("n",), ("h",), {}), ADD], {"n": MANY}, (1, 3)),
    "Expand": ([("Expand", ("x", "n"), ("y",), {})], {"n": MANY}, (1, 1)),
    "Tile": ([("Tile", ("x", "n"), ("y",), {})], {"n": MANY}, (1, 1)),
    "Pad": ([("Pad", ("x", "n"), ("y",), {})], {"n": np.array([0, 0, 0, 10**12])}, (1, 3)),
    "Range": (
        [("Range", ("a", "n", "b"), ("h",), {}), ADD],
        {"a": np.array(0), "b": np.array(1), "n": np.array(10**12)},
        (1, 3),
    ),
    "Concat": ([("Concat", ("x",) * 1000, ("y",), {"axis": 1})], {}, (1, 10**6)),
    "Transpose, Add": (
        [("Transpose", ("x",), ("h",), {"perm": [1, 0]}), ADD],
        {},
        (1, 10**5),
    ),
    "MatMul": (
        [("MatMul", ("a", "b"), ("h",), {}), ADD],
        {"a": np.ones((10**5, 1)), "b": np.ones((1, 10**5))},
        (1, 3),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_node_that_would_fill_the_memory_is_refused(name, tmp_path):
    onnx.save(model(*BOMBS[name]), tmp_path / "net.onnx")
    with pytest.raises(Refusal, match=r"has an output of [\d,]+ entries, more than"):
        read(tmp_path / "net.onnx")


def test_an_input_that_would_fill_the_memory_is_refused(tmp_path):
    onnx.save(model([node("Relu")], {}, (1, 10**12)), tmp_path / "net.onnx")
    with pytest.raises(Refusal, match=r"has an input of 1,000,000,000,000 entries, more than"):
        read(tmp_path / "net.onnx")


def test_a_node_that_runs_others_is_refused(tmp_path):
    """A loop may have no end."""
    nodes = [("Loop", ("n", "go", "b"), ("h",), {"body": LOOP}), ADD]
    constants = {"n": np.array(2**62), "go": np.array(True), "b": np.ones(1)}
    onnx.save(model(nodes, constants, (1, 3)), tmp_path / "net.onnx")
    with pytest.raises(Refusal, match="runs nodes of its own"):
        read(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gemm", "w", transB=1, alpha="yes")],
        [node("Conv", "w", strides=[0, 0])],
        [node("MaxPool", kernel_shape=[-1])],
        [node("Clip", "w", "w")],
        [node("Relu", "w", "w")],
        [node("Add", "none")],
        [("Relu", ("x",), (), {})],
    ],
)
def test_nodes_that_fit_nothing_are_refused(nodes, tmp_path):
    onnx.save(model(nodes, {"w": weight(4, 3)}, (1, 3)), tmp_path / "net.onnx")
    with pytest.raises(Refusal):
        read(tmp_path / "net.onnx")


def test_a_tensor_without_its_bytes_is_refused(tmp_path):
    made = model([node("Add", "w")], {"w": weight(1, 3)}, (1, 3))
    made.graph.initializer[0].raw_data = b"short"
    onnx.save(made, tmp_path / "net.onnx")
    with pytest.raises(Refusal, match=r"net\.onnx is damaged"):
        read(tmp_path / "net.onnx")
