# Sourced by the scripts for a GPU: ends with a line and success where there is none; makes the kit anew where there is
# a tree to make it of, or no kit yet; sets `python`, one whose PyTorch sees the GPU.
if ! nvidia-smi -L >/dev/null 2>&1; then
    echo 'skipped: no CUDA device'
    exit 0
fi
kit=$PWD/build/cuda-kit
if [ -d .venv ] || [ ! -d $kit ]; then
    tools/setup.sh
    tools/cuda-kit.sh
fi
export PYTHONPATH=$kit/python LD_LIBRARY_PATH=$kit/lib
python=
for candidate in .venv/bin/python python3; do
    if "$candidate" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo 'error: neither .venv nor python3 has a PyTorch that sees the GPU'; exit 1; }
