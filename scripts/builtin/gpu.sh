# One visit to a GPU machine: train everything, then simulate. Usage: gpu.sh OUT
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
python3 train.py meadow attic almanac alloy-pivot:-q0:0 alloy-pivot:-q3:0.03 alloy-pivot:-q10:0.10 --out $1 --rows 100000 --workers 16 2>&1 | tee $1/train.log
for t in q0 q3 q10; do
  for s in "lam=0.3,lr=2e-3 lam=0.1,lr=2e-3 lam=0.3,lr=5e-3" "lam=0.3,lr=2e-3,steps=120 lam=0.5,lr=2e-3,steps=48 lam=0.3,lr=1e-3,steps=120"; do
    python3 simulate.py --weights $1 --tag=-$t --seeds 5 --label "$t " --set $s >> $1/sim.log 2>&1 &
  done
done
wait
