import { MantineProvider } from '@mantine/core';
import type { ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { cssVariables, theme } from '../app/theme.ts';

// The text area that grows listens to fonts, which happy-dom does not have.
if (!('fonts' in document)) Object.assign(document, { fonts: new EventTarget() });

/** Lets React render what was asked for: two turns of the event loop, one for the update and one for its effects. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Renders into a fresh element of the document, for DOM tests; `unmount` takes it away again. */
export async function mount(content: ReactNode) {
  const host = document.createElement('div');
  document.body.append(host);
  const root = createRoot(host);
  const show = async (next: ReactNode) => {
    root.render(
      <MantineProvider theme={theme} cssVariablesResolver={cssVariables} env="test">
        {next}
      </MantineProvider>,
    );
    await settle();
  };
  await show(content);
  return {
    host,
    show,
    unmount: async () => {
      root.unmount();
      await settle();
      host.remove();
    },
  };
}

/** The element of a role whose name (its label, else its text) matches. */
export function byRole(role: string, name: string | RegExp, within: ParentNode = document): HTMLElement {
  const implicit: Readonly<Record<string, string>> = {
    button: 'button',
    link: 'a[href]',
    textbox: 'input, textarea',
  };
  const candidates = within.querySelectorAll<HTMLElement>(
    `[role="${role}"], ${implicit[role] ?? `[role="${role}"]`}`,
  );
  for (const element of candidates) {
    const label = element.getAttribute('aria-label') ?? element.textContent ?? '';
    if (typeof name === 'string' ? label.trim() === name : name.test(label)) return element;
  }
  throw new Error(`There is no ${role} named ${name}`);
}

export async function click(element: HTMLElement): Promise<void> {
  element.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true, button: 0 }));
  element.click();
  await settle();
}

export async function press(
  element: HTMLElement,
  key: string,
  modifiers: KeyboardEventInit = {},
): Promise<void> {
  element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...modifiers }));
  await settle();
}

/** Waits until a check no longer throws. */
export async function eventually(check: () => void, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  for (;;) {
    await settle();
    try {
      check();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
