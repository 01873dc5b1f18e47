"""picker's export: a trained network becomes the ONNX graph that the runtime runs."""
