import { localStorageColorSchemeManager, MantineProvider } from '@mantine/core';
import { Frame } from './Frame.tsx';
import { cssVariables, theme } from './theme.ts';

/** The same key as in `index.html`, which sets the scheme before the first paint. */
const schemeManager = localStorageColorSchemeManager({ key: 'alloy-color-scheme' });

export function App() {
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      colorSchemeManager={schemeManager}
      defaultColorScheme="auto"
    >
      <Frame />
    </MantineProvider>
  );
}
