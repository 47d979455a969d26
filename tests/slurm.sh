#!/usr/bin/env bash
# A real one-node Slurm (Debian: slurm-wlm, munge; run as root) and the engine on it: the policies of the main job as
# two jobs (of 600 steps, a quarter of a minute and more, so that they last), one cancelled and one requeued in
# mid-cell, and the driver killed and started again; then a policy of the store's own as two tasks of one job; then the
# long ones without Slurm, to compare.
#
#     tests/slurm.sh STORE [PYTHON]      STORE: a smoke store of rm_size, which is copied
set -euo pipefail
store=$(realpath "$1") python=${2:-.venv/bin/python}
work=$(mktemp -d)
node=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
mkdir -p "$work/state" "$work/spool"
cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$node
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=cred_expire=5
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=2
NodeName=$node CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
printf 'CgroupAutomount=no\n' > "$work/cgroup.conf"
pids=()
finish() {
  scancel --user=root --quiet 2> /dev/null || true
  kill "${pids[@]}" 2> /dev/null || true
  wait "${pids[@]}" 2> /dev/null || true
  rm -rf "$work" || true  # a daemon may still write its state; what was tested has been told
}
trap finish EXIT
if ! munge -n > /dev/null 2>&1; then
  mkdir -p /run/munge && chown munge: /run/munge
  runuser -u munge -- munged --force
fi
slurmctld -D > "$work/ctld.out" 2>&1 & pids+=($!)
slurmd -D > "$work/d.out" 2>&1 & pids+=($!)
for _ in $(seq 60); do sinfo -h -o %T 2> /dev/null | grep -q idle && break; sleep 1; done
sinfo

runs=$work/runs
cp -r "$store" "$runs"
rm -rf "$runs/policy_gradient" "$runs/.checkpoints"
cp -r "$runs" "$work/alone"
job=("$python" -m experiments rm_size --preset smoke --workers 2)
long=(--set optimiser.steps=600 --set optimiser.evaluations=40)
slurm=(--runs "$runs" --engine slurm --resource timeout_min=10)
line=("${job[@]}" "${long[@]}" "${slurm[@]}")

"${line[@]}" > "$work/first.log" 2>&1 & driver=$!
for _ in $(seq 120); do [ "$(squeue -h -t R -o %i | wc -l)" = 2 ] && break; sleep 1; done
mapfile -t jobs < <(squeue -h -t R -o %i)
[ ${#jobs[@]} = 2 ]
kill -9 $driver && wait $driver 2> /dev/null || true
echo "driver killed; jobs ${jobs[*]} live on"

"${line[@]}" > "$work/second.log" 2>&1 & driver=$!
sleep 4
scontrol requeue "${jobs[0]}"
scancel "${jobs[1]}"
echo "job ${jobs[0]} requeued, job ${jobs[1]} cancelled"
wait $driver || { cat "$work/second.log"; exit 1; }
cat "$work/second.log"
grep -q "lost policy_gradient" "$work/second.log"
submitted=$(find "$runs/.slurm" -name '*_submitted.pkl' | wc -l)
echo "$submitted jobs for 2 cells"
[ "$submitted" = 3 ]  # the second driver waited for the first one's; only the cancelled one was submitted again

cp -r "$store/policy_gradient"/rloo-8x1* "$runs/policy_gradient"
shared=("${job[@]}" "${slurm[@]}" --resource tasks_per_node=2)
"${shared[@]}" > "$work/third.log" 2>&1 || { cat "$work/third.log" "$runs"/.slurm/*; exit 1; }
grep -q "1 to do" "$work/third.log"
echo "two tasks of one job shared the runs of a cell"
"${job[@]}" "${long[@]}" --runs "$work/alone" > "$work/alone.log" 2>&1
"$python" - "$runs" "$work/alone" "$store" <<'PY'
import sys
import numpy as np
import pandas as pd
from gold_sim.store import Store
policies = lambda root: (lambda t: t[t["stage"] == "policy_gradient"])(Store(root).table())
by_slurm, *without = map(policies, sys.argv[1:])
one, other = (t.sort_values(["cell", "seed", "control"]) for t in (pd.concat(without), by_slurm))
assert set(one["cell"]) == set(other["cell"]) and one["cell"].nunique() == 4
shared = (one["rm_width"] == 4) & one["cell"].isin(without[1]["cell"])  # equal but for rounding
alone = ~shared.to_numpy()
assert 0 < alone.sum() < len(alone)
for column in one:
    a, b = one[column].to_numpy(), other[column].to_numpy()
    np.testing.assert_array_equal(a[alone], b[alone], column)
    if a.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-4, err_msg=column)
print("the same curves to the bit")
PY
