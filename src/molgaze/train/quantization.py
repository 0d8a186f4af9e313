"""ONNX graphs with their large matrices in whole numbers, which processors multiply much faster.

A matrix is kept with seven bits and a scale for each of its columns, so that sums of two products
fit into the sixteen bits that processors without VNNI add them in. What it is multiplied with gets
eight bits: in the encoder with a scale for all sites of the picture, in the step with the same
scale for all pictures, as it lies between -1 and 1 there. So what is read of a picture does not
depend on the pictures that are read beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

LARGEST = 63  # of seven bits with a sign
UNIT = 127  # eight bits for what lies between -1 and 1, round
MIDDLE = 128
DOMAIN = "com.microsoft"  # of onnxruntime, which has the product and its scales in one operation


def integers_of(path: Path) -> Path:
    """The file beside a graph that holds it in whole numbers."""
    return path.with_suffix(".int8.onnx")


def quantize(path: Path, layers: Collection[str] = ()) -> int:
    """Write a graph's copy in whole numbers to :func:`integers_of` it.

    Args:
        path: of a graph in floating point.
        layers: names of layers whose input lies between -1 and 1. All products with columns that
            are gathered from the rows of a table are taken in whole numbers too.

    Returns:
        How many products are.
    """
    model = onnx.load(path)
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, NDArray[np.generic]] = {
        "middle": np.array(MIDDLE, np.uint8),
        "unit": np.array(1 / UNIT, np.float32),
    }
    tables: set[str] = set()
    count = 0
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in stored:
            nodes.append(node)
            continue
        given, out = node.input[0], node.output[0]
        flat = maker.get(given)
        gather = (
            maker.get(flat.input[0]) if flat is not None and flat.op_type == "Flatten" else None
        )
        if gather is not None and gather.op_type == "Gather":
            table = gather.input[0]
            whole, scale, zero = (f"{table}_{what}" for what in ("whole", "scale", "zero"))
            if table not in tables:
                nodes.append(
                    helper.make_node("DynamicQuantizeLinear", [table], [whole, scale, zero])
                )
                tables.add(table)
            nodes.append(helper.make_node("Gather", [whole, gather.input[1]], [f"{out}_rows"]))
            nodes.append(helper.make_node("Flatten", [f"{out}_rows"], [f"{out}_columns"]))
            given = f"{out}_columns"
        elif any(f"/{layer}/" in node.name for layer in layers):
            scale, zero = "unit", "middle"
            nodes.append(helper.make_node("QuantizeLinear", [given, scale, zero], [f"{out}_whole"]))
            given = f"{out}_whole"
        else:
            nodes.append(node)
            continue
        matrix = stored[node.input[1]]
        step = np.maximum(np.abs(matrix).max(0), 1e-12) / LARGEST
        added[f"{out}_matrix"] = np.round(matrix / step).astype(np.int8)
        added[f"{out}_step"] = step.astype(np.float32)
        added[f"{out}_none"] = np.zeros(len(step), np.int8)
        inputs = [given, f"{out}_matrix", scale, f"{out}_step", zero, f"{out}_none"]
        nodes.append(helper.make_node("MatMulIntegerToFloat", inputs, [out], domain=DOMAIN))
        count += 1
    kept = _used(nodes, [output.name for output in graph.output])
    names = {name for node in kept for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in names]
    tensors += [numpy_helper.from_array(v, n) for n, v in added.items() if n in names]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    onnx.save(model, integers_of(path))
    return count


def _used(nodes: list[onnx.NodeProto], outputs: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]
