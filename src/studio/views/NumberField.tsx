import { NumberInput } from '@mantine/core';
import { useState } from 'react';

/**
 * A number within bounds. What is typed stays as it is until the field is left; only what is valid is handed on, and then
 * the field shows the value that holds.
 */
export function NumberField({
  id,
  label,
  value,
  minimum,
  maximum,
  step,
  whole,
  placeholder = '',
  width,
  onChange,
  onClear,
}: {
  readonly id: string;
  /** For fields without a visible label. */
  readonly label?: string;
  readonly value: number | undefined;
  readonly minimum: number;
  readonly maximum: number;
  readonly step: number;
  readonly whole: boolean;
  readonly placeholder?: string;
  /** Pixels; narrow fields have no steppers. */
  readonly width?: number;
  readonly onChange: (value: number) => void;
  /** For fields that may be left empty. */
  readonly onClear?: () => void;
}) {
  const [typed, setTyped] = useState<string | number>();
  const [focused, setFocused] = useState(false);
  const take = (next: string | number) => {
    if (focused) setTyped(next);
    if (next === '') onClear?.();
    else if (typeof next === 'number' && next >= minimum && next <= maximum) onChange(next);
  };
  return (
    <NumberInput
      id={id}
      {...(label === undefined ? {} : { 'aria-label': label })}
      {...(width === undefined ? {} : { w: width, hideControls: true })}
      min={minimum}
      max={maximum}
      step={step}
      allowDecimal={!whole}
      allowNegative={minimum < 0}
      clampBehavior="none"
      placeholder={placeholder}
      value={typed ?? value ?? ''}
      onChange={take}
      onFocus={() => setFocused(true)}
      onBlur={() => {
        setFocused(false);
        setTyped(undefined);
      }}
    />
  );
}
