"""Plans from ONNX graphs, by TensorRT or TensorRT-RTX through the same code, without torch and onnx.

`builder.build` is the public function; `worker` and what it imports run in child processes.
"""
