import '@fontsource-variable/inter/wght.css';
import '@mantine/core/styles.layer.css';
import 'uplot/dist/uPlot.min.css';
import './app/tokens.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app/App.tsx';
import { boot } from './app/boot.ts';

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
  boot();
}
