import { Button, Progress } from '@mantine/core';
import { formatBytes } from '../../../util/bytes.ts';
import { type DownloadState, pauseDownload } from '../../state/hub.ts';
import { formatSeconds } from '../../views/format.ts';
import { Icon } from '../../views/Icon.tsx';
import classes from './Hub.module.css';

/** The download under way: how far, how fast, how long, and a way to pause it. */
export function DownloadProgress({ download }: { readonly download: DownloadState }) {
  const { title, done, total, bytesPerSecond, secondsLeft, note, pausing } = download;
  const pace = bytesPerSecond === undefined ? '' : ` · ${formatBytes(bytesPerSecond)}/s`;
  const left = secondsLeft === undefined || done >= total ? '' : ` · ${formatSeconds(secondsLeft)} left`;
  const count =
    done >= total && total > 0 ? 'Opening it' : `${formatBytes(done)} of ${formatBytes(total)}${pace}${left}`;
  return (
    <section className={classes.download} aria-label="Download">
      <div className={classes.downloadHead}>
        <span className={classes.downloadName}>{title}</span>
        <Button
          size="compact-xs"
          variant="default"
          leftSection={<Icon name="pause" size={11} />}
          disabled={pausing}
          onClick={pauseDownload}
        >
          Pause
        </Button>
      </div>
      <p className={`${classes.facts} num`}>{pausing ? 'Pausing …' : (note ?? count)}</p>
      <Progress value={total > 0 ? (100 * done) / total : 0} size={5} aria-label={`Download of ${title}`} />
    </section>
  );
}
