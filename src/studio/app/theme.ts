import {
  ActionIcon,
  Button,
  type CSSVariablesResolver,
  createTheme,
  Drawer,
  defaultVariantColorsResolver,
  type MantineColorsTuple,
  Modal,
  NumberInput,
  SegmentedControl,
  Select,
  Slider,
  Switch,
  Textarea,
  TextInput,
  Tooltip,
} from '@mantine/core';

/** The chrome has no hue of its own, so that colour on the page always means a model or a value. */
const ink: MantineColorsTuple = [
  '#f5f5f3',
  '#ececea',
  '#d6d6d2',
  '#b6b9be',
  '#94989e',
  '#686b70',
  '#4c4f54',
  '#35373b',
  '#1f2023',
  '#131416',
];

const gray: MantineColorsTuple = [
  '#f8f8f6',
  '#f0f0ec',
  '#eaeae5',
  '#e1e1db',
  '#c9c9c1',
  '#a6a7a4',
  '#84868a',
  '#4c4f54',
  '#35373b',
  '#1f2023',
];

const dark: MantineColorsTuple = [
  '#ececea',
  '#b6b9be',
  '#94989e',
  '#686b70',
  '#44474d',
  '#2f3236',
  '#23252a',
  '#17181b',
  '#121315',
  '#0c0d0e',
];

export const theme = createTheme({
  fontFamily: "'Inter Variable', system-ui, -apple-system, 'Segoe UI', sans-serif",
  fontFamilyMonospace: 'var(--font-mono)',
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.25rem' },
  lineHeights: { xs: '1.35', sm: '1.45', md: '1.5', lg: '1.5', xl: '1.35' },
  headings: {
    fontWeight: '600',
    sizes: {
      h1: { fontSize: '1.25rem', lineHeight: '1.3' },
      h2: { fontSize: '0.875rem', lineHeight: '1.4' },
      h3: { fontSize: '0.8125rem', lineHeight: '1.4' },
    },
  },
  colors: { ink, gray, dark },
  primaryColor: 'ink',
  primaryShade: { light: 8, dark: 1 },
  defaultRadius: 6,
  cursorType: 'pointer',
  respectReducedMotion: true,
  variantColorResolver: (input) =>
    input.variant === 'filled' && (input.color === undefined || input.color === 'ink')
      ? {
          background: 'var(--ink)',
          hover: 'color-mix(in srgb, var(--ink) 86%, var(--bg))',
          color: 'var(--bg)',
          border: '1px solid transparent',
        }
      : defaultVariantColorsResolver(input),
  components: {
    Button: Button.extend({
      defaultProps: { size: 'xs' },
      styles: { section: { marginInlineEnd: 6 }, label: { fontWeight: 550 } },
    }),
    ActionIcon: ActionIcon.extend({ defaultProps: { variant: 'subtle', size: 28 } }),
    Modal: Modal.extend({
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        // The dialog's header is not the page's.
        attributes: { header: { role: 'presentation' } },
      },
    }),
    Drawer: Drawer.extend({
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        attributes: { header: { role: 'presentation' } },
      },
    }),
    Select: Select.extend({ defaultProps: { size: 'xs', allowDeselect: false } }),
    NumberInput: NumberInput.extend({ defaultProps: { size: 'xs' } }),
    TextInput: TextInput.extend({ defaultProps: { size: 'xs' } }),
    Textarea: Textarea.extend({ defaultProps: { size: 'sm' } }),
    SegmentedControl: SegmentedControl.extend({ defaultProps: { size: 'xs', withItemsBorders: false } }),
    Slider: Slider.extend({ defaultProps: { size: 'sm', label: null } }),
    Switch: Switch.extend({
      defaultProps: { size: 'xs' },
      styles: { label: { paddingInlineStart: 8 }, thumb: { '--switch-thumb-bg': 'var(--surface)' } },
    }),
    Tooltip: Tooltip.extend({ defaultProps: { openDelay: 350, withArrow: false, multiline: true } }),
  },
});

/** Points Mantine's surfaces at the studio's own tokens (`tokens.css`), in both schemes. */
export const cssVariables: CSSVariablesResolver = () => {
  const surfaces = {
    '--mantine-color-body': 'var(--surface)',
    '--mantine-color-text': 'var(--ink)',
    '--mantine-color-dimmed': 'var(--ink-3)',
    '--mantine-color-placeholder': 'var(--ink-3)',
    '--mantine-color-default': 'var(--surface)',
    '--mantine-color-default-hover': 'var(--hover)',
    '--mantine-color-default-color': 'var(--ink)',
    '--mantine-color-default-border': 'var(--line-strong)',
    '--mantine-color-anchor': 'var(--focus)',
    '--mantine-color-error': 'var(--bad)',
  };
  return { variables: {}, light: surfaces, dark: surfaces };
};
