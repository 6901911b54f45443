/** What is missing for WebGPU on this machine, and what a person can do about it in the browser at hand. */
import type { Fault } from '../state/fault.ts';

export interface Surroundings {
  readonly userAgent: string;
  /** Whether `navigator.gpu` exists. */
  readonly hasGpu: boolean;
  readonly secure: boolean;
}

export interface Advice {
  readonly title: string;
  readonly steps: readonly string[];
}

type Browser = 'firefox' | 'safari' | 'chromium' | 'other';
type System = 'linux' | 'android' | 'ios' | 'mac' | 'windows' | 'other';

export function surroundings(): Surroundings {
  return {
    userAgent: navigator.userAgent,
    hasGpu: 'gpu' in navigator,
    secure: globalThis.isSecureContext,
  };
}

function browserOf(userAgent: string): Browser {
  if (/firefox|fxios/i.test(userAgent)) return 'firefox';
  if (/chrom(e|ium)|crios|edg/i.test(userAgent)) return 'chromium';
  return /safari/i.test(userAgent) ? 'safari' : 'other';
}

function systemOf(userAgent: string): System {
  if (/android/i.test(userAgent)) return 'android';
  if (/iphone|ipad/i.test(userAgent)) return 'ios';
  if (/mac os/i.test(userAgent)) return 'mac';
  if (/windows/i.test(userAgent)) return 'windows';
  return /linux|cros/i.test(userAgent) ? 'linux' : 'other';
}

/** Steps from the likeliest to the last resort. */
export function adviceFor(fault: Fault, around: Surroundings): Advice {
  const browser = browserOf(around.userAgent);
  const system = systemOf(around.userAgent);
  if (fault.code === 'internal') {
    return {
      title: 'The engine did not start',
      steps: ['Reload the page. If it stays like this, copy the details into a bug report.'],
    };
  }
  if (fault.code === 'unsupported' || fault.code === 'out-of-memory') {
    return {
      title: 'This graphics adapter is too small',
      steps: [
        'On a laptop with two graphics chips, make the browser use the faster one (system settings, graphics, high performance) and start the browser again.',
        'Update the graphics driver; old ones report smaller limits.',
        'Choose smaller models, or open this page on another machine.',
      ],
    };
  }
  if (!around.secure) {
    return {
      title: 'This page is not on a secure address',
      steps: [
        'Browsers offer WebGPU only over https:// or on localhost. Open the page on one of these.',
        'For a class in one room: run “npm start” on each machine, or serve the page with a certificate.',
      ],
    };
  }
  if (!around.hasGpu) return { title: 'This browser has no WebGPU', steps: withoutGpu(browser, system) };
  return { title: 'WebGPU found no graphics adapter', steps: withoutAdapter(browser, system) };
}

function withoutGpu(browser: Browser, system: System): readonly string[] {
  const other = 'Or open this page in a current Chrome or Edge (113 or newer; on Android 121).';
  if (system === 'ios') {
    return [
      'Update to iOS or iPadOS 26; every browser there uses the system’s engine.',
      'Or open this page on a computer.',
    ];
  }
  switch (browser) {
    case 'firefox':
      return [
        'Update Firefox: WebGPU is on by default from 141 on Windows and 145 on macOS with Apple chips.',
        'Elsewhere open about:config, set dom.webgpu.enabled to true and start Firefox again.',
        other,
      ];
    case 'safari':
      return [
        'Update to Safari 26 (macOS 26). In Safari 18 switch it on under Develop, Feature Flags, WebGPU.',
        other,
      ];
    case 'chromium':
      return system === 'linux'
        ? [
            'Update the browser, then open chrome://flags, enable “Unsafe WebGPU Support” and “Vulkan”, and start it again.',
            'Or start it with --enable-unsafe-webgpu --enable-features=Vulkan.',
          ]
        : [
            'Update the browser to 113 or newer (on Android 121).',
            'If an administrator manages it, ask whether WebGPU is switched off by policy.',
          ];
    default:
      return [other.replace('Or open', 'Open')];
  }
}

function withoutAdapter(browser: Browser, system: System): readonly string[] {
  const acceleration =
    browser === 'firefox'
      ? 'In Settings, General, Performance, switch on hardware acceleration, and start Firefox again.'
      : 'In the browser’s settings, System, switch on “Use graphics acceleration when available”, and start it again.';
  const steps = [acceleration, 'Update the graphics driver, then restart the machine.'];
  if (browser === 'chromium' && system === 'linux') {
    steps.push(
      'Open chrome://flags and enable “Unsafe WebGPU Support” and “Vulkan”; chrome://gpu says what is blocked.',
    );
  } else if (browser === 'chromium') {
    steps.push('chrome://gpu lists what is blocked and why.');
  }
  steps.push('In a virtual machine or over remote desktop there may be no graphics chip to use.');
  return steps;
}
