#!/bin/sh
# A Python without packages.
echo "error No module named 'torch'; install them: pip install torch torchvision onnx onnxruntime"
exit 1
