#!/bin/sh
# Makes the plan poisson.toml; written by dijitso VERSION.
#SBATCH --job-name=dijitso-poisson
#SBATCH --output=/home/me/poisson.toml.jobs/slurm-%A.%a.log
#SBATCH --array=1-4

cd /home/me || exit 1
# The command takes the place of the shell, and gets the signals of the batch system itself.
exec srun -N2 -n8 /opt/bin/dijitso make poisson.toml -k --part "$SLURM_ARRAY_TASK_ID"/4 --status-file /home/me/poisson.toml.jobs/slurm-"$SLURM_ARRAY_JOB_ID.$SLURM_ARRAY_TASK_ID".status
