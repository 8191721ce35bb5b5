#!/bin/sh
# A run of kbuild-repro as a Slurm array job of N shards, and a job that merges what they left:
#
#   sh slurm.sh N DIR [ARGUMENTS OF run]...        e.g.  sh slurm.sh 16 /shared/night 'graft/*' --tier graft
#
# DIR is on a file system that all nodes have: DIR/shards/K, DIR/merged, DIR/junit.xml and DIR/logs. `kbuild-repro` is in PATH on
# all nodes. CPUS=16 is how many processors a shard gets; with WAIT=1 this ends when the merge does, with its exit code.
# Past durations balance the shards: `--durations DIR/merged` of the night before, moved out of the way of this one.
#
# A node that fails is no loss: Slurm puts the task into the queue again, and it goes on where it was. One task by hand:
#
#   KBUILD_REPRO_SHARDS=16 sbatch --array=3 slurm.sh shard DIR [THE SAME ARGUMENTS]... && sbatch slurm.sh merge DIR
#
#SBATCH --job-name=kbuild-repro
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu

submit() {
	shards=$1
	mkdir -p "$2/logs" "$2/shards"
	dir=$(cd "$2" && pwd)
	shift 2
	# Which shard a task is, is known by its number and by how many there are; of one that is submitted again Slurm knows no more.
	export KBUILD_REPRO_SHARDS="$shards"
	array=$(sbatch --parsable --array="1-$shards" --cpus-per-task="${CPUS:-16}" --output="$dir/logs/shard-%a" \
		"$0" shard "$dir" "$@")
	# On a cluster of several the name of one follows.
	array=${array%%;*}
	echo "shards: job $array, $shards tasks; results in $dir/shards"
	# Whatever becomes of the shards: findings end them with 1, and what is missing is for the merge to tell.
	set -- --dependency="afterany:$array" --output="$dir/logs/merge" "$0" merge "$dir"
	if [ -n "${WAIT:-}" ]; then
		code=0
		sbatch --wait "$@" || code=$?
		cat "$dir/logs/merge"
		exit "$code"
	fi
	exec sbatch "$@"
}

case ${1:-} in
shard)
	dir=$2
	shift 2
	exec kbuild-repro run --shard auto --out "$dir/shards/$SLURM_ARRAY_TASK_ID" --jobs "${SLURM_CPUS_PER_TASK:-1}" "$@"
	;;
merge)
	exec kbuild-repro merge "$2/shards" --out "$2/merged" --report junit="$2/junit.xml"
	;;
[1-9]*)
	submit "$@"
	;;
*)
	echo "usage: sh slurm.sh N DIR [ARGUMENTS OF run]..." >&2
	exit 2
	;;
esac
