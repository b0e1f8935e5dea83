#!/bin/sh
# A Python without packages.
echo "error No module named 'onnxruntime'; install them: pip install onnx onnxruntime"
exit 1
