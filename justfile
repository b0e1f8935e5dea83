# Recipes are cargo commands; without `just`, type what stands in them (README.md lists them).

# list the recipes
default:
    @just --list

# run an experiment and print its table: `just sweep`, `just sweep experiments/ranges.toml --set images=500`
sweep *arguments:
    cargo sweep {{arguments}}

# the same with training (`method = "qat"`) and burn's devices built in
sweep-all *arguments:
    cargo sweep-all {{arguments}}

# all tests; set QUANTLAB_DATA to include those on real data
test *arguments:
    cargo test --release --workspace {{arguments}}

# tables and plots from the committed results, spliced into the pages
table *arguments="--results results/reference --pages README.md docs":
    cargo table {{arguments}}

# what papers and other tools say beside what came out; `just compare --pages docs` puts the committed results into docs/papers.md
compare *arguments:
    cargo compare {{arguments}}

# pages for a browser, one file an experiment and one over all: `just page cifar10-activations --results results/reference`
page *arguments:
    cargo page {{arguments}}

# what quantization does to each layer
inspect *arguments:
    cargo inspect {{arguments}}

# which layers and sites bear few bits: `just sensitivity experiments/sensitivity.toml`
sensitivity *arguments:
    cargo sensitivity {{arguments}}

# a quantized network as ONNX: `just export net.onnx --set method=ptq --set weights.bits=8 --set activations.bits=8`
export *arguments:
    cargo export {{arguments}}

# how fast the engine is: `just bench --peers python3` beside PyTorch and ONNX Runtime
bench *arguments:
    cargo throughput {{arguments}}

# train a network
train *arguments:
    cargo train {{arguments}}

# download test sets and checkpoints: `just fetch cifar10 resnet18`
fetch *arguments:
    cargo fetch-data {{arguments}}

# lints with warnings denied (formatting: `cargo fmt --all --check`)
check:
    cargo clippy --release --workspace --all-targets -- -D warnings
    cargo clippy --release --package bench --no-default-features -- -D warnings
