import { Button } from '@mantine/core';
import { useState } from 'react';
import { openDevice, useDevice } from '../state/device.ts';
import { refreshLive } from '../state/merge.ts';
import { startRun, useRun } from '../state/run.ts';
import { Icon } from '../views/Icon.tsx';
import { adviceFor, surroundings } from './advice.ts';
import classes from './DeviceBanner.module.css';

/** Says on every stage what is missing when there is no device to work with, and what to do about it. */
export function DeviceBanner() {
  const device = useDevice((state) => state.device);
  if (device.kind === 'unsupported') return <Unsupported fault={device.fault} />;
  if (device.kind === 'lost') return <Lost reason={device.reason} onGpu={device.report.kind === 'webgpu'} />;
  return null;
}

function Unsupported({ fault }: { readonly fault: Parameters<typeof adviceFor>[0] }) {
  const [folded, setFolded] = useState(false);
  const { title, steps } = adviceFor(fault, surroundings());
  return (
    <section className={classes.banner} aria-label="No device">
      <Icon name="warning" size={18} />
      <div className={classes.words}>
        <h2>{title}</h2>
        <p>{fault.message}</p>
        {folded ? null : (
          <>
            <ol>
              {steps.map((step) => (
                <li key={step}>{step}</li>
              ))}
            </ol>
            <p className={classes.still}>
              Without a device you can still look at the models and see how their tokenizers cut a text;
              running and training them needs a GPU with WebGPU, or a processor with WebAssembly and SIMD.
            </p>
          </>
        )}
        <div className={classes.actions}>
          <Button variant="default" onClick={openDevice}>
            Try again
          </Button>
          <Button variant="subtle" onClick={() => setFolded(!folded)} aria-expanded={!folded}>
            {folded ? 'What to do' : 'Fold'}
          </Button>
        </div>
      </div>
    </section>
  );
}

function Lost({ reason, onGpu }: { readonly reason: string; readonly onGpu: boolean }) {
  const interrupted = useRun((state) => state.status === 'failed' && state.fault?.code === 'device-lost');
  const reopen = async () => {
    await openDevice();
    if (useDevice.getState().device.kind !== 'ready') return;
    refreshLive();
    if (interrupted) await startRun();
  };
  return (
    <section className={classes.banner} data-kind="lost" role="alert">
      <Icon name="warning" size={18} />
      <div className={classes.words}>
        <h2>{onGpu ? 'The GPU was lost' : 'The processor’s threads were lost'}</h2>
        <p>
          The browser reports: {reason}.{' '}
          {onGpu
            ? 'A driver update, a sleeping laptop or too little memory can cause it.'
            : 'Too little memory can cause it.'}{' '}
          Finished stages and checkpoints are kept.
        </p>
        <div className={classes.actions}>
          <Button onClick={reopen}>{interrupted ? 'Open it again and resume' : 'Open it again'}</Button>
        </div>
      </div>
    </section>
  );
}
